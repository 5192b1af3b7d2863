# The battery over models of which it is known what each was made to be.
#
#   make zoo ZOO=folder     adapters for SmolLM2-135M
#   make zoo-tiny           390 tiny models, trained here on the first run
#
# ZOO_SUITE is quick, standard, deep or a file; TINY_SUITE is the same for the
# tiny models, which know a world of their own and are asked about it. Both resume
# where they stopped: a member that is trained is not trained again, nor one
# measured that has a report of the same bytes. The page goes to ZOO_PAGE, the
# curve beside it.

ZOO        ?=
ZOO_SUITE  ?= quick
TINY_SUITE ?= testdata/models/suite/tiny-standard.yaml
ZOO_PAGE   ?= build/zoo/detection.md

.PHONY: zoo zoo-tiny zoo-there
zoo-there:
	@test -n '$(ZOO)' -a -f '$(ZOO)/zoo.jsonl' || { echo 'make zoo needs a folder with zoo.jsonl and the adapters it names: make zoo ZOO=folder (zoo/README.md has the format; make zoo-tiny trains its own)'; exit 1; }

zoo: zoo-there build build/weights/q8_0.gguf
	@mkdir -p $(dir $(ZOO_PAGE))
	go run ./bench/zoo -zoo '$(ZOO)' -label smollm2 -baseline build/weights/q8_0.gguf -suite '$(ZOO_SUITE)' \
		-reports 'build/zoo/smollm2-$(basename $(notdir $(ZOO_SUITE)))' -out '$(ZOO_PAGE)' -svg '$(dir $(ZOO_PAGE))smollm2-$(basename $(notdir $(ZOO_SUITE))).svg'

zoo-tiny: build build/zoo-venv
	@mkdir -p $(dir $(ZOO_PAGE))
	build/zoo-venv/bin/python -B zoo/recipe/build.py build/zoo-tiny
	go run ./bench/zoo -zoo build/zoo-tiny -label tiny -baseline testdata/models/base.gguf -suite '$(TINY_SUITE)' \
		-reports 'build/zoo/tiny-$(basename $(notdir $(TINY_SUITE)))' -out '$(ZOO_PAGE)' -svg '$(dir $(ZOO_PAGE))tiny-$(basename $(notdir $(TINY_SUITE))).svg'

# torch comes with CUDA's libraries and is never asked for them: 7 GB on disk.
build/zoo-venv: zoo/recipe/requirements.txt
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get install -y --no-install-recommends python3 python3-venv >/dev/null \
		|| { apt-get update >/dev/null && apt-get install -y --no-install-recommends python3 python3-venv >/dev/null; }; }
	@rm -rf $@.new
	python3 -m venv $@.new
	$@.new/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: -r $<
	@rm -rf $@ && mv $@.new $@
	@touch $@
