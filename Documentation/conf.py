# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Sphinx configuration, for tools/htmldocs.

The kernel-doc directive and the one that makes links of function names are the
kernel's own, and are taken from the source tree that KSRC names. Tried with Linux
7.2 and Sphinx 5.3 and 8.1.
"""

import os
import re
import sys

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ksrc = os.path.abspath(os.environ.get("KSRC", ""))
if not os.path.isfile(os.path.join(ksrc, "Documentation/sphinx/kerneldoc.py")):
    raise SystemExit("conf.py: KSRC has to name a kernel source tree; "
                     "tools/vm/kernel-source prints one")

# The kernel's extension looks here for its parser, and older ones want a program.
os.environ["srctree"] = ksrc
sys.path.insert(0, os.path.join(ksrc, "Documentation/sphinx"))
extensions = ["kerneldoc", "automarkup"]
kerneldoc_srctree = top
kerneldoc_bin = os.path.join(ksrc, "scripts/kernel-doc")

project = "lockmap"
author = "The lockmap authors"
master_doc = "index"
primary_domain = "c"
highlight_language = "c"
html_theme = "furo"
html_title = "lockmap"
html_static_path = ["lockmap.css", "lockmap.js"]
html_css_files = ["lockmap.css"]
html_js_files = ["lockmap.js"]
html_show_sourcelink = False


def link_members(app, docname, source):
    """Links of &lockmap_params.name, as kernel-doc makes them in comments."""
    source[0] = re.sub(r"&(lockmap_\w+)\.(\w+)", r":c:type:`\1.\2 <\1>`", source[0])


def setup(app):
    app.connect("source-read", link_members)
