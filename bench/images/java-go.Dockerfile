# A Java and Go server: fat jars, servlet engine, Go programs, and the sources of Go with their test keys.
FROM image-audit-bench/debian
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-21-jdk-headless tomcat10 activemq maven \
    libspring-web-java libbcprov-java prometheus etcd-server caddy golang-1.24-src golang-golang-x-crypto-dev \
    golang-google-grpc-dev openssl python3-pip && rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/
RUN pip3 install --break-system-packages --no-cache-dir --target /opt/spark pyspark==3.5.3
WORKDIR /srv/server
COPY secrets/ .
RUN openssl genrsa -out large.pem 8192 && openssl dhparam -dsaparam -out dh.pem 2048 && \
    openssl dsaparam -genkey -noout -out dsa.pem 2048 && \
    keytool -genkeypair -alias server -keyalg RSA -keysize 4096 -dname CN=server -storepass changeit -keystore server.p12
RUN mkdir classes && jar cf application.jar application.properties server.p12 -C /opt/spark pyspark/jars/spark-core_2.12-3.5.3.jar
RUN rm .env large.pem server.p12 && echo "profile=production" >> application.properties
