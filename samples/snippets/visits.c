// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The example of README.md and of the package lockmap-dev, built here against this folder. */
#include "../../debian/examples/visits/visits.c"
