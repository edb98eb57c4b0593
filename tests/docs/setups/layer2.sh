# The story: layer1 adds /secret.txt, layer2 deletes it.
TOKEN=glpat-$(od -An -N10 -tx1 /dev/urandom | tr -d ' \n')
docker run --name c1 busybox sh -c "echo 'my secret $TOKEN' > /secret.txt"
docker commit c1 layer1
docker run --name c2 layer1 sh -c 'echo x > /secret2.txt; rm /secret.txt'
docker commit c2 layer2
docker rm c1 c2
