# Training and prediction on a CPU:
#
#   docker build -t keras_r3d .
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD":/work keras_r3d train MY_VIDEOS --recipe few
FROM python:3.12-slim

# The environment of requirements.txt; a server has no libGL, which opencv-python wants.
WORKDIR /src
COPY requirements.txt ./
RUN sed 's/^opencv-python\b/opencv-python-headless/' requirements.txt > headless.txt \
    && pip install --no-cache-dir -r headless.txt

COPY pyproject.toml README.md LICENSE ./
COPY recipes recipes
COPY export export
COPY keras_r3d keras_r3d
RUN pip install --no-cache-dir --no-deps . && rm -rf build

# Any user: what is had again goes where everybody may write.
ENV KERAS_R3D_CACHE=/tmp/keras_r3d MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 user
USER 1000
WORKDIR /work
ENTRYPOINT ["keras-r3d"]
