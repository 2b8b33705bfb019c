# sdgen in a container; docs/running-for-others.md tells how to use it.
#
#   docker build -t sdgen .
#   docker run --init -p 127.0.0.1:7860:7860 -v sdgen:/data -e SDGEN_AUTH=name:password sdgen
#
# For NVIDIA cards: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 and, with
# NVIDIA's container toolkit, `docker run --gpus all`.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# PyPI's own torch brings gigabytes of CUDA, so the build is chosen here; the CPU's if nothing is.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app
COPY requirements.txt ./
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch' requirements.txt)" \
 && pip install -r requirements.txt "c2pa-python>=0.38"
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
