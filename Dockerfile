# syntax=docker/dockerfile:1.7
# One file, three targets:
#   docker build --target server     -t vireid:cpu .        CPU serving, no torch
#   docker build --target server-gpu -t vireid:gpu .        CUDA serving: onnxruntime-gpu, faiss-gpu, TensorRT
#   docker build --target training   -t vireid:training .   training and export
# Run: docker run -p 127.0.0.1:8080:8080 -v vireid:/data -e VIREID_API_KEYS=... vireid:cpu

FROM python:3.12.12-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin vireid \
    && mkdir /data && chown vireid:vireid /data
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY constraints constraints
COPY vireid vireid
COPY index index
COPY server server
COPY clients clients
COPY training training
COPY export export

FROM base AS server
RUN pip install -c constraints/ci.txt '.[server]'
USER 10001
VOLUME /data
EXPOSE 8080 50051
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
# Listens on every address of the container, so it asks for a key: set VIREID_API_KEYS.
ENTRYPOINT ["vireid", "serve", "--host", "0.0.0.0", "--data", "/data"]

FROM base AS server-gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility VIREID_ENGINE_CACHE=/data/engines
# The CPU and GPU builds of onnxruntime and of faiss share one import name each: the CPU ones go first.
# TensorRT plans are built in this image: onnx reads the graph, people are drawn to prove the plan on, and the proof as a page.
RUN pip install -c constraints/ci.txt '.[server,synthetic,evaluation]' onnx \
    && pip uninstall --yes onnxruntime faiss-cpu \
    && pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1' 'faiss-gpu==1.15.1' 'tensorrt==11.4.0.106'
USER 10001
VOLUME /data
EXPOSE 8080 50051
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["vireid", "serve", "--host", "0.0.0.0", "--data", "/data", "--device", "cuda"]

FROM base AS training
RUN pip install -c constraints/ci.txt '.[export,vit,openvino]'
USER 10001
VOLUME /data
WORKDIR /data
ENTRYPOINT ["vireid"]
CMD ["train", "--help"]
