# Python tools that the tests hold our files against, in a virtual environment
# of their own: DuckDB and pandas read the report, model-signing verifies our
# signatures and we verify its.
#
#   make build/venv
#
# Debian leaves ensurepip out of python3; python3-venv brings it.

build/venv: mk/requirements.txt
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get install -y --no-install-recommends python3 python3-venv >/dev/null \
		|| { apt-get update >/dev/null && apt-get install -y --no-install-recommends python3 python3-venv >/dev/null; }; }
	@rm -rf $@.new
	python3 -m venv $@.new
	$@.new/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -r $<
	@rm -rf $@ && mv $@.new $@
	@touch $@
