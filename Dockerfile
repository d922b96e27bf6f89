# ipamd-emulator: the daemon and the CNI plugin. docker build -t ipamd-emulator .
# Opens no port beyond the loopback of its own network namespace; deploy what you need with arguments to run.

FROM python:3.11-slim-bookworm AS build
ENV VENV=/opt/ipamd PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# k8s: to talk to a cluster. For --ec2 aws: docker build --build-arg EXTRAS=aws,k8s
ARG EXTRAS=k8s
WORKDIR /src
COPY pyproject.toml constraints.txt LICENSE README.md ./
COPY ipamd ipamd
COPY cni_plugin cni_plugin
RUN python -m venv "$VENV" && PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt "$VENV/bin/pip" install -q ".[$EXTRAS]"

FROM build AS plugin
# aws-cni as a bundle, which runs on nodes with this glibc or a newer one, with or without Python.
COPY deploy/node/aws-cni.spec deploy/node/
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils \
    && PIP_CONSTRAINT=constraints.txt "$VENV/bin/python" -m pip install -q '.[bundle]' \
    && "$VENV/bin/pyinstaller" --noconfirm --log-level WARN --distpath /plugin deploy/node/aws-cni.spec

FROM python:3.11-slim-bookworm
# What --host netlink calls.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends iproute2 iptables nftables \
    && rm -rf /var/lib/apt/lists/*
# The directories of the state and of the socket belong to the user; mount volumes there to keep them.
RUN groupadd --gid 65532 ipamd \
    && useradd --uid 65532 --gid 65532 --no-create-home --shell /usr/sbin/nologin ipamd \
    && install -d -o ipamd -g ipamd /var/lib/ipamd-emulator /run/aws-node
COPY --from=build /opt/ipamd /opt/ipamd
COPY --from=plugin /plugin/aws-cni /opt/ipamd/share/ipamd-emulator/aws-cni
ENV PATH=/opt/ipamd/bin:$PATH XDG_STATE_HOME=/var/lib PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["ipamd", "health"]
ENTRYPOINT ["ipamd"]
CMD ["run"]
