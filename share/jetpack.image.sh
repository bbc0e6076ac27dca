# What jetpack.image.mk and jetpack.image.gnu.mk run inside the image, in /.build. Variables come in the environment.
set -e
if [ -n "$PKG_INSTALL" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update
        apt-get install --yes --no-install-recommends $PKG_INSTALL
    elif command -v pkg >/dev/null 2>&1; then
        ASSUME_ALWAYS_YES=yes pkg install --yes $PKG_INSTALL
    else
        echo "PKG_INSTALL: the image has neither apt-get nor pkg" >&2
        exit 1
    fi
fi
if [ -n "$BUILD_COMMAND" ]; then
    eval "$BUILD_COMMAND"
elif [ -n "$BUILD_TARGET" ]; then
    command -v "$BUILD_MAKE" >/dev/null 2>&1 || {
        echo "the target build is made inside the image, which has no $BUILD_MAKE; BUILD_COMMAND needs none" >&2
        exit 1
    }
    "$BUILD_MAKE" build
fi
rm -rf $CLEAN_FILES
