# make demo   sets up .venv and runs the main job, without any data at hand
# make test   sets up .venv and runs the tests

# The first Python of a version that requirements.txt serves with tensorflow-io.
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& echo $$p && break; done)
PYTHON_311 ?= $(shell for p in python3.11 $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.11*/bin/python 2>/dev/null); do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
# Also one that pyenv holds but has not switched on.
PYTHON_NEWEST ?= $(shell for p in python3.13 $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13*/bin/python 2>/dev/null); do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
VENV_NEWEST ?= .venv-newest
VENV_311 ?= .venv-311
VENV_OLDEST ?= .venv-oldest
VENV_REMOTE ?= .venv-remote
VENV_CLUSTER ?= .venv-cluster
VENV_TORCH ?= .venv-torch
VENV_DOCS ?= .venv-docs
VENV_BROWSER ?= .venv-browser
# For machines with a GPU this takes PyTorch's CUDA libraries along; if that is too much:
# make test-torch TORCH="torch torchvision --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0 torchvision==0.28.0
# Two at a time. One at a time: make test PYTEST_FLAGS="-n 0".
PYTEST_FLAGS ?= -n 2 --dist loadfile
KERAS_OLDEST := $(shell sed -n 's/.*"keras>=\([0-9.]*\),.*/\1/p' pyproject.toml)

.PHONY: demo docs test test-311 test-newest test-oldest test-remote test-cluster test-browser test-slow test-real \
	test-torch lint clean

demo: $(VENV)/.installed
	$(VENV)/bin/python -m keras_r3d.train --recipe demo

test: $(VENV)/.installed lint
	$(VENV)/bin/python -m pytest $(PYTEST_FLAGS)

# The same tests with the newest TensorFlow, without tensorflow-io: on Python 3.13, and on 3.11.
test-newest: $(VENV_NEWEST)/.installed
	$(VENV_NEWEST)/bin/python -m pytest $(PYTEST_FLAGS)

test-311: $(VENV_311)/.installed
	$(VENV_311)/bin/python -m pytest $(PYTEST_FLAGS)

# The same tests with the oldest Keras that pyproject.toml names.
test-oldest: $(VENV_OLDEST)/.installed
	$(VENV_OLDEST)/bin/python -m pytest $(PYTEST_FLAGS)

test-slow: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -m "slow and not real and not browser"

test-real: $(VENV)/.installed
	@test -n "$$KERAS_R3D_REAL_DATA" || { echo "Set KERAS_R3D_REAL_DATA to the folder of real videos."; exit 1; }
	$(VENV)/bin/python -m pytest -m "real and not slow and not browser" $(PYTEST_FLAGS)

# Against PyTorch, in an environment of its own.
test-torch: $(VENV)/.installed $(VENV_TORCH)/.installed
	KERAS_R3D_TORCH_PYTHON=$(VENV_TORCH)/bin/python \
		$(VENV)/bin/python -m pytest tests/applications/test_torch.py -m "slow or not slow" $(PYTEST_FLAGS)

# Videos, clip stores and results at s3:// by fsspec. s3fs wants another botocore than boto3 does, which does no harm here;
# asked for both at once, pip searches for long.
test-remote: $(VENV_REMOTE)/.installed
	$(VENV_REMOTE)/bin/python -m pytest tests/data/test_storage.py tests/data/test_remote_store.py \
		tests/system/test_outputs.py tests/system/test_inputs.py tests/data/test_url_videos.py

# On three raylets of Ray; nothing listens beyond loopback.
test-cluster: $(VENV_CLUSTER)/.installed
	$(VENV_CLUSTER)/bin/python -m pytest -m cluster tests/system/test_cluster.py

# The documentation as a site; broken links, anchors and names are errors.
docs: $(VENV_DOCS)/.installed
	$(VENV_DOCS)/bin/python docs/site/stage.py build/docs
	cd build/docs && $(abspath $(VENV_DOCS))/bin/zensical build --strict --config-file mkdocs.yml

# The pages in Chromium, by Selenium in an environment of its own; on real videos, too, if they are named.
test-browser: $(VENV)/.installed $(VENV_BROWSER)/.installed
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		echo "Chromium is missing. Debian: apt-get install chromium chromium-driver"; exit 1; }
	$(VENV_BROWSER)/bin/python -m pytest tests/browser -m "browser and not slow$(if $(KERAS_R3D_REAL_DATA),, and not real)"

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found; name one: make PYTHON=…"; exit 1; }
	@$(call install,$(PYTHON),$(VENV),-r requirements.txt)

$(VENV_NEWEST)/.installed: requirements.txt pyproject.toml
	@$(PYTHON_NEWEST) --version 2>/dev/null || { echo "Python 3.13 was not found; name one: make PYTHON_NEWEST=…"; exit 1; }
	@$(call install,$(PYTHON_NEWEST),$(VENV_NEWEST),-r requirements.txt)

$(VENV_311)/.installed: pyproject.toml
	@$(PYTHON_311) --version 2>/dev/null || { echo "Python 3.11 was not found; name one: make PYTHON_311=…"; exit 1; }
	@$(call install,$(PYTHON_311),$(VENV_311),'tensorflow>=2.21$(comma)<2.22' 'opencv-python>=4.11$(comma)<4.12')

$(VENV_OLDEST)/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found; name one: make PYTHON=…"; exit 1; }
	@$(call install,$(PYTHON),$(VENV_OLDEST),-r requirements.txt)
	@$(VENV_OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check 'keras==$(KERAS_OLDEST)'

$(VENV_REMOTE)/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found; name one: make PYTHON=…"; exit 1; }
	@$(call install,$(PYTHON),$(VENV_REMOTE),-r requirements.txt)
	@$(VENV_REMOTE)/bin/python -m pip install --quiet --disable-pip-version-check 's3fs>=2025.1'

$(VENV_CLUSTER)/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found; name one: make PYTHON=…"; exit 1; }
	@$(call install,$(PYTHON),$(VENV_CLUSTER),-r requirements.txt)
	@$(VENV_CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check 'ray>=2.40'

$(VENV_TORCH)/.installed: Makefile
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found; name one: make PYTHON=…"; exit 1; }
	@echo "Setting up $(VENV_TORCH) (once) …"
	@$(PYTHON) -m venv $(VENV_TORCH) 2>/dev/null || $(PYTHON) .ci/venv_without_ensurepip.py $(VENV_TORCH)
	@$(VENV_TORCH)/bin/python -m pip install --quiet --disable-pip-version-check numpy $(TORCH)
	@touch $@

# What the site needs and no TensorFlow: docstrings are read, not imported.
$(VENV_DOCS)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found; name one: make PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv $(VENV_DOCS) 2>/dev/null || $(PYTHON) .ci/venv_without_ensurepip.py $(VENV_DOCS)
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
		| $(VENV_DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r /dev/stdin
	@touch $@

$(VENV_BROWSER)/.installed: $(VENV)/.installed
	@echo "Setting up $(VENV_BROWSER) (once) …"
	@$(VENV)/bin/python -m venv $(VENV_BROWSER) 2>/dev/null || $(PYTHON) .ci/venv_without_ensurepip.py $(VENV_BROWSER)
	@$(VENV_BROWSER)/bin/python -m pip install --quiet --disable-pip-version-check selenium
	@$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		$$($(VENV_BROWSER)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/main.pth
	@touch $@

# $(1) Python, $(2) folder of the virtual environment, $(3) what to install beside the project.
comma := ,
define install
	set -e; \
	echo "Setting up $(2) (once; TensorFlow takes a few minutes) …"; \
	$(1) -m venv $(2) 2>/dev/null || $(1) .ci/venv_without_ensurepip.py $(2); \
	$(2)/bin/python -m pip install --quiet --disable-pip-version-check $(3) -e '.[dev]'; \
	if ! $(2)/bin/python -c 'import cv2' 2>/dev/null; then \
		echo "OpenCV needs libGL, which this machine lacks: installing opencv-python-headless instead."; \
		$(2)/bin/python -m pip uninstall --quiet -y opencv-python; \
		$(2)/bin/python -m pip install --quiet --force-reinstall --no-deps 'opencv-python-headless>=4.11,<4.12'; \
	fi; \
	touch $(2)/.installed
endef

clean:
	rm -rf $(VENV) $(VENV_311) $(VENV_NEWEST) $(VENV_OLDEST) $(VENV_REMOTE) $(VENV_CLUSTER) $(VENV_TORCH) $(VENV_DOCS) \
		$(VENV_BROWSER) build dist *.egg-info
