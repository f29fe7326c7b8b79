# anomalycli on a plain Python image, on the CPU.
#
#   docker build -t anomalycli .
#   docker run --rm -v "$PWD:/videos" anomalycli score clip.mp4 --html
#
# To write files as yourself, add --user "$(id -u):$(id -g)".
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 user
WORKDIR /src

# PyTorch's own index has builds without CUDA, which are far smaller.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch torchvision

COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY anomalycli anomalycli
COPY weights weights
# decord's wheel must not be redistributed (THIRD_PARTY.md); PyAV reads everything without it.
RUN pip install --no-cache-dir '.[live,mqtt]' && pip uninstall --yes decord && cd / && anomalycli --version

USER 1000
WORKDIR /videos
ENTRYPOINT ["anomalycli"]
CMD ["--help"]
