# Every target sets up what it needs in .venv and then does its work.
PROFILE ?= quick
PYTHON ?= python3
# Where the report's jobs run: empty, this machine; slurm, a cluster (docs/cluster.md).
CLUSTER ?=
# For pip, for instance PIP="--extra-index-url https://download.pytorch.org/whl/cpu".
PIP ?=
BIN := .venv/bin
# A file's tests share what they made, and a notebook's cells their kernel. One thread for each
# kernel: more than there are cores slow each other down many times over.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: report test lab notebooks bench soak lint clean

report: .venv/ready  ## Make the report of PROFILE, a file in params/
	$(BIN)/python -m lmmoe report params/$(PROFILE).yaml $(CLUSTER:%=--cluster %)

test: .venv/ready  ## All tests, the committed notebooks among them
	$(BIN)/python -m pytest $(PARALLEL)
	export LMMOE_PROGRESS=off OMP_NUM_THREADS=1 LMMOE_CACHE=$$(mktemp -d); \
	$(BIN)/python -m pytest $(PARALLEL) --nbval-lax --nbval-current-env notebooks

lab: .venv/ready  ## Open the notebooks
	$(BIN)/jupyter lab notebooks

notebooks: .venv/ready  ## Execute the notebooks in place, as they are committed
	LMMOE_PROGRESS=off $(BIN)/jupyter nbconvert --execute --inplace \
	--ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec \
	--ClearMetadataPreprocessor.preserve_cell_metadata_mask=tags notebooks/*.ipynb

bench: .venv/ready  ## Speed against yardsticks: minutes, on a machine without other work
	$(BIN)/python -m benchmarks

soak: .venv/ready  ## 100,000 spoilt lines, then an hour of rows at full speed; prints its figures
	$(BIN)/python -m benchmarks.soak

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:  ## Remove results, not the published figures
	rm -rf results .snakemake

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --disable-pip-version-check $(PIP) -e '.[report,test,live,export$(CLUSTER:%=,cluster)]'
	touch $@
