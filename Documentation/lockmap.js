// SPDX-License-Identifier: GPL-2.0 OR MIT
// The theme of Debian 12 has a light side, a dark side, and no rule for which one the reader's system wants.
if (document.body.dataset.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches)
	document.body.dataset.theme = "dark";
