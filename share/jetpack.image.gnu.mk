# Images made by make, for GNU make: jetpack.image.mk tells what a Makefile says; include this at its end.

ifndef JETPACK_INSIDE
ifndef PARENT_IMAGE
$(error PARENT_IMAGE is not set)
endif

JETPACK ?= jetpack
ACI_FILE ?= image.aci
JETPACK_SHARE ?= $(abspath $(dir $(lastword $(MAKEFILE_LIST))))

_MAKEFILE := $(firstword $(MAKEFILE_LIST))
ifndef BUILD_COMMAND
BUILD_TARGET := $(shell grep -q '^build *:' $(_MAKEFILE) && echo build)
endif
BUILD_MAKE ?= make
BUILD_VARS += PKG_INSTALL BUILD_COMMAND BUILD_TARGET BUILD_MAKE CLEAN_FILES
_MANIFEST := $(if $(wildcard manifest.json)$(shell grep '^manifest\.json *:' $(_MAKEFILE)),manifest.json)
_QUOTED = '$(subst ','\'',$($(1)))'

.DEFAULT_GOAL := image
.PHONY: image prepare build clean
image: prepare $(_MANIFEST)
	@$(JETPACK) build --dir . --env JETPACK_INSIDE=yes \
	    --volume jetpack-share,kind=host,source='$(JETPACK_SHARE)',readOnly=true --mount volume=jetpack-share,target=/.share \
	    $(foreach v,$(sort $(BUILD_VARS)),--env $(v)=$(call _QUOTED,$(v))) $(addprefix --cp ,$(BUILD_CP)) $(addprefix --name ,$(IMAGE)) \
	    $(if $(_MANIFEST),--manifest manifest.json) --output $(ACI_FILE) --overwrite $(BUILD_ARGS) \
	    $(PARENT_IMAGE) -- /bin/sh /.share/jetpack.image.sh

prepare:

clean:
	rm -f $(ACI_FILE)
endif
