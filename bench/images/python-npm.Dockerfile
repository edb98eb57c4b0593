# A Python and npm application with the caches of both package managers, and its repository.
FROM image-audit-bench/debian
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv nodejs npm git openssl && \
    rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/
WORKDIR /app
RUN python3 -m venv .venv && .venv/bin/pip install django flask fastapi uvicorn boto3 azure-identity google-cloud-storage \
    cryptography cryptography-vectors sqlalchemy celery redis psycopg pytest requests numpy pandas pillow lxml
RUN .venv/bin/pip download --no-deps --no-binary :all: --no-build-isolation -d /root/sdists pyyaml paramiko twisted || true
COPY secrets/ .
RUN echo '{"name":"application","version":"1.0.0","private":true}' > package.json && npm config set strict-ssl false && \
    npm install --no-audit --no-fund express react react-dom next webpack typescript jest eslint @aws-sdk/client-s3 \
    firebase jsonwebtoken node-forge
RUN git init -q && git -c user.name=a -c user.email=a@example.com add .env application.properties package.json && \
    git -c user.name=a -c user.email=a@example.com commit -qm first && git rm -q .env && \
    git -c user.name=a -c user.email=a@example.com commit -qm "Remove .env" && git gc -q
RUN openssl genrsa -out id_rsa 3072 && sed -i 's/production/test/' application.properties
RUN rm id_rsa
