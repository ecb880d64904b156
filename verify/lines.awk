# SPDX-License-Identifier: GPL-2.0 OR MIT
# Print the functions and objects of these names, as they are in the source and in its order.
# usage: awk -v names="a b c" -f lines.awk lockmap.c
BEGIN {
	n = split(names, list, " ")
	for (i = 1; i <= n; i++)
		want[list[i]] = 1
}
# A definition begins in the first column and ends with a line that begins with "}", or ends with ";".
!inside && /^(static|struct) / {
	name = $0
	if (name ~ /^struct [a-z_]+ \{$/)
		sub(/ \{$/, "", name)
	else
		sub(/( =|\().*/, "", name)
	sub(/.*[ *]/, "", name)
	inside = name in want
	if (inside) {
		printf "#line %d \"%s\"\n", FNR, FILENAME
		delete want[name]
	}
}
inside { print }
inside && (/^}/ || /^[^\t].*;$/) {
	inside = 0
	print ""
}
END {
	for (name in want) {
		print "lines.awk: no " name " in " FILENAME > "/dev/stderr"
		bad = 1
	}
	exit bad
}
