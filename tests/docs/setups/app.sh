# A folder with an app and its Dockerfile, which leaks; built as app:1, app:2 and others, and saved as app.tar.
printf 'console.log("hello")\n' >index.js
printf '//registry.example.com/:_authToken=glpat-%s\n' "$(od -An -N10 -tx1 /dev/urandom | tr -d ' \n')" >.npmrc
cat >Dockerfile <<'END'
FROM busybox
WORKDIR /app
COPY .npmrc ./
RUN rm .npmrc
COPY index.js ./
END
docker build -q -t app -t app:1 -t app:1.2 -t app:2 -t app:test .
docker save app:1 -o app.tar
