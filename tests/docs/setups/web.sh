# A container that runs.
docker run -d --name web busybox sleep 600
