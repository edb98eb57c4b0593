# A server of few and large jars, one of them with 80,000 members, and programs and sources of Go.
FROM image-audit-bench/debian
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-21-jre-headless groovy ant jruby libnetty-java \
    docker.io containerd hugo syncthing restic rclone golang-k8s-client-go-dev golang-github-aws-aws-sdk-go-dev \
    openssl python3-pip && rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/
RUN pip3 install --break-system-packages --no-cache-dir --target /opt/flink apache-flink-libraries==1.20.0 h2o==3.46.0.6
WORKDIR /srv/server
COPY secrets/ .
RUN rm .env && echo "profile=production" >> application.properties
