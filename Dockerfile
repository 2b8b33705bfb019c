# sdgen in a container; docs/running-for-others.md tells how to use it.
#
#   docker build -t sdgen .
#   docker run --init -p 127.0.0.1:7860:7860 -v sdgen:/data -e SDGEN_AUTH=name:password sdgen
#
# For NVIDIA cards: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 and, with
# NVIDIA's container toolkit, `docker run --gpus all`.
# python:3.12-slim for any processor, as it was when the versions below were tested.
ARG BASE=python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea
FROM ${BASE}

# PyPI's own torch brings gigabytes of CUDA, so the build is chosen here; the CPU's if nothing is.
# torchvision has to be of the same build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=2.13.0
ARG TORCHVISION=0.28.0
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app
COPY requirements-docker.txt ./
RUN pip install --index-url "$TORCH_INDEX" "torch==$TORCH" "torchvision==$TORCHVISION" \
 && pip install --require-hashes --no-deps -r requirements-docker.txt \
 && pip check
COPY app.py LICENSE ./
COPY sdgen ./sdgen
COPY lora ./lora
RUN python -m compileall -q app.py sdgen lora

# Everything that stays is in /data: pictures, the queue, adapters, trainings, fetched models.
RUN useradd --uid 10001 --user-group --create-home sdgen \
 && install -d -m 0700 -o sdgen -g sdgen /data
USER 10001:10001
VOLUME /data
ENV SDGEN_DATA_DIR=/data \
    HF_HOME=/data/huggingface \
    SDGEN_HOST=0.0.0.0 \
    SDGEN_PORT=7860 \
    SDGEN_LOG_FORMAT=json

EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['SDGEN_PORT']}/healthz\", timeout=4)"]
CMD ["python", "app.py"]
