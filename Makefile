# SPDX-License-Identifier: BSD-3-Clause
# Front door. The build itself is Meson's; this installs what is missing and runs things in order.
BUILD ?= build
PYTHON ?= /usr/bin/python3

.PHONY: all demo demo-vm check check-quick check-long check-fresh bench install lint fuzz clean

all:
	tools/install-deps build
	tools/build $(BUILD)

# Installs, builds, runs the main job.
demo:
	tools/install-deps demo
	tools/build $(BUILD)
	tools/demo $(BUILD)

demo-vm:
	tools/install-deps test
	tools/build $(BUILD)
	tools/demo-vm $(BUILD)

# Installs, builds, runs every test. T=name runs the tests of that name only.
check:
	tools/install-deps test
	tools/check full $(T)

check-quick:
	tools/install-deps test
	tools/check quick $(T)

# The long loops: run by hand; figures go to docs/long-runs.md.
check-long:
	tools/install-deps test
	tools/check long $(T)

# Bare Debian trees, from a clone.
check-fresh:
	tools/install-deps test
	tools/check-fresh

# Us and our peers side by side; a quarter of an hour. T=row measures that row, or those that begin so.
bench:
	tools/install-deps test
	tools/build $(BUILD)
	tools/bench $(BUILD) $(T)

lint:
	tools/install-deps test
	tools/build $(BUILD)
	meson test -C $(BUILD) --suite lint --print-errorlogs

fuzz:
	tools/install-deps test
	tools/fuzz $(SECONDS)

install: all
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

clean:
	rm -rf build build-*
