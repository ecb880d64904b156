/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * main() of a program that measures one implementation. It takes the parameters of
 * the module as arguments.
 */
#ifndef _BENCH_USER_MAIN_H
#define _BENCH_USER_MAIN_H

#include "../driver.h"

static inline bool bench_threads_argument(const char *value)
{
	unsigned int i = 0;
	char *end;

	do {
		unsigned long n = strtoul(value, &end, 10);

		if (n < 1 || n > BENCH_MOST_THREADS || i == BENCH_MOST_THREADS)
			return false;
		bench_settings.threads[i++] = n;
		value = end + 1;
	} while (*end == ',');
	bench_settings.threads[i] = 0;
	return !*end;
}

static inline bool bench_argument(const char *name, size_t len, const char *value)
{
	struct bench_settings *s = &bench_settings;

	if (!strncmp(name, "rows", len))
		s->rows = value;
	else if (!strncmp(name, "impls", len))
		s->impls = value;
	else if (!strncmp(name, "threads", len))
		return bench_threads_argument(value);
	else if (!strncmp(name, "ms", len))
		s->ms = atoi(value);
	else if (!strncmp(name, "reps", len))
		s->reps = atoi(value);
	else if (!strncmp(name, "ops", len))
		s->ops = atoi(value);
	else if (!strncmp(name, "quick", len))
		s->quick = atoi(value);
	else if (!strncmp(name, "sizes", len))
		s->sizes = atoi(value);
	else if (!strncmp(name, "memory", len))
		s->memory = atoi(value);
	else
		return false;
	return true;
}

static inline int bench_user_main(int argc, char **argv, const struct bench_impl *impl)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');

		if (!equals || !bench_argument(argv[i], equals - argv[i], equals + 1)) {
			fprintf(stderr, "%s: bad argument: %s\n", argv[0], argv[i]);
			return 1;
		}
	}
	bench_impls[0] = impl;
	return bench_main() ? 1 : 0;
}

#endif /* _BENCH_USER_MAIN_H */
