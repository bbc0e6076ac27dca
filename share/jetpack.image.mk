# Images made by make, for BSD make. Include it at the end of a Makefile that says what the image is:
#
#   PARENT_IMAGE   what is built on
#   IMAGE          NAME[:VERSION] of the result
#   PKG_INSTALL    packages to install, by the image's own pkg or apt-get
#   BUILD_COMMAND  what runs inside; without it the target `build` is made there
#   BUILD_VARS     variables that the command finds in its environment
#   BUILD_CP       SRC[:DST]..., copied into the image first
#   BUILD_ARGS     further options of jetpack build, as --net host
#   CLEAN_FILES    removed inside when all is done
#   ACI_FILE       the archive [image.aci]
#   JETPACK        the program with its options [jetpack]
#
# Targets of the Makefile's own, each as it is there: `prepare` is made on the host, `build` inside in /.build, where the Makefile's
# directory is; `manifest.json`, a file or a target, holds keys of the manifest. `make` makes the image, `make clean` removes the archive.

.if !defined(JETPACK_INSIDE)
.if !defined(PARENT_IMAGE)
.error PARENT_IMAGE is not set
.endif

JETPACK?=	jetpack
ACI_FILE?=	image.aci
.if !defined(JETPACK_SHARE)
JETPACK_SHARE:=	${.PARSEDIR:tA}
.endif

.if target(build) && !defined(BUILD_COMMAND)
BUILD_TARGET=	build
.endif
BUILD_MAKE?=	make
BUILD_VARS+=	PKG_INSTALL BUILD_COMMAND BUILD_TARGET BUILD_MAKE CLEAN_FILES
.if target(manifest.json) || exists(${.CURDIR}/manifest.json)
_MANIFEST=	manifest.json
.endif

.MAIN: image
.PHONY: image prepare build clean
image: prepare ${_MANIFEST}
	@cd ${.CURDIR} && ${JETPACK} build --dir . --env JETPACK_INSIDE=yes \
	    --volume jetpack-share,kind=host,source=${JETPACK_SHARE:Q},readOnly=true --mount volume=jetpack-share,target=/.share \
	    ${BUILD_VARS:O:u:@v@--env ${v}=${${v}:Q}@} ${BUILD_CP:@c@--cp ${c}@} ${IMAGE:D--name ${IMAGE}} \
	    ${_MANIFEST:D--manifest manifest.json} --output ${ACI_FILE} --overwrite ${BUILD_ARGS} \
	    ${PARENT_IMAGE} -- /bin/sh /.share/jetpack.image.sh

prepare:

clean:
	rm -f ${ACI_FILE}
.endif
