# A Debian server with many packages, and their archives in apt's cache.
FROM image-audit-bench/debian
ENV DEBIAN_FRONTEND=noninteractive
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && rm -f /etc/apt/apt.conf.d/docker-clean
RUN apt-get update && apt-get install -y nginx mariadb-server postgresql php-fpm php-mysql redis-server samba bind9 \
    dovecot-imapd openssh-server ssl-cert slapd
RUN apt-get install -y git vim-nox ruby build-essential ansible-core python3-full perl-doc libnet-ssleay-perl \
    nodejs postfix fail2ban certbot monit snmpd rsyslog
COPY secrets/ /etc/application/
RUN ssh-keygen -q -t rsa -b 4096 -N '' -f /root/.ssh/id_rsa && cp /etc/application/.env /root/.env
RUN rm -rf /root/.ssh /etc/application/.env && apt-get install -y htop tmux
