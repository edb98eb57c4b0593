# registry.example.com: some images of a team, one of which leaks.
printf 'FROM busybox\nRUN echo one > /one\n' | docker build -q -t "$REGISTRY/team/web:1.0" -
printf 'FROM busybox\nENV GITLAB_TOKEN=glpat-%s\n' "$(od -An -N10 -tx1 /dev/urandom | tr -d ' \n')" |
    docker build -q -t "$REGISTRY/team/app:1.2" -t "$REGISTRY/team/app:1" -
docker push -q "$REGISTRY/team/web:1.0"
docker push -q -a "$REGISTRY/team/app"
