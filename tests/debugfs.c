// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What debugfs shows: a folder for each map, whatever its name, numbers, and keys
 *
 * Processes read the files, as people do.
 */
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "worker.h"

#define MAPS	"/sys/kernel/debug/lockmap/"

static void need_shell(struct kunit *test)
{
	if (!lmtest_shell_sees_debugfs())
		kunit_skip(test, "no process can read debugfs here");
}

static struct lockmap *create_named(struct kunit *test, const char *name)
{
	return lmtest_create(test, &(struct lockmap_params) {
		.name = name, .key_len = sizeof(u64), .value_len = sizeof(u64), .nr_shards = 1,
	});
}

/* A file has this line, in which a dot stands for any byte, or for itself. */
static bool has_line(const char *file, const char *line)
{
	char command[192];

	scnprintf(command, sizeof(command), "grep -qx '%s' " MAPS "%s", line, file);
	return !lmtest_shell(command);
}

static bool has_folder(const char *name)
{
	struct dentry *maps = debugfs_lookup("lockmap", NULL), *dir = NULL;

	if (!IS_ERR_OR_NULL(maps)) {
		dir = debugfs_lookup(name, maps);
		dput(maps);
	}
	if (IS_ERR_OR_NULL(dir))
		return false;
	dput(dir);
	return true;
}

/* So many maps have a folder of this name, or of this name with a number. */
static bool has_folders(const char *name, unsigned int nr)
{
	char command[192];

	scnprintf(command, sizeof(command),
		  "cd " MAPS " && [ $(ls %s/stats %s.[0-9]*/stats | wc -l) -eq %u ]",
		  name, name, nr);
	return !lmtest_shell(command);
}

/*
 * The same name stands in debugfs, in messages, and in that of a slab cache, of which the
 * kernel warns if it has a space (with DEBUG_VM).
 */
static void names_are_plain(struct kunit *test)
{
	static const struct {
		const char *given;
		const char *shown;
	} names[] = {
		{ "two words", "two_words" },
		{ "disk/1", "disk_1" },
		{ "a\tb\nc\x7f", "a_b_c_" },
		{ "\xc3\xa9t\xc3\xa9", "__t__" },
		{ " ", "_" },
		{ ".", "_" },
		{ "..", "_." },
		{ ".hidden", "_hidden" },
		{ "v1.2", "v1.2" },
		{ "%s%n", "%s%n" },
		{ "0123456789012345678901234567890", "0123456789012345678901234567890" },
		{ "01234567890123456789012345678901", "0123456789012345678901234567890" },
	};

	if (!IS_ENABLED(CONFIG_DEBUG_FS))
		kunit_skip(test, "no debugfs here");
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		struct lockmap *map = create_named(test, names[i].given);
		char text[96];

		lmtest_expect_usable(test, map, names[i].shown);
		KUNIT_EXPECT_TRUE_MSG(test, has_folder(names[i].shown), "%s", names[i].shown);
		scnprintf(text, sizeof(text), "lockmap: %s: a key of 3 bytes is refused",
			  names[i].shown);
		expect_log(text);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, "key", 3)), -EINVAL);
		lmtest_destroy(test, map);
		KUNIT_EXPECT_FALSE_MSG(test, has_folder(names[i].shown), "%s", names[i].shown);
	}
}

/* Maps of one name, beside others whose names are that and a number */
static void each_map_has_a_folder(struct kunit *test)
{
	char name[16];

	need_shell(test);
	for (unsigned int i = 0; i < 30; i++) {
		scnprintf(name, sizeof(name), "same.%u", i);
		create_named(test, name);
	}
	for (unsigned int i = 0; i < 10; i++)
		create_named(test, "same");
	/* Of these each has the name of one that is there, or not. */
	for (unsigned int i = 20; i < 50; i++) {
		scnprintf(name, sizeof(name), "same.%u", i);
		create_named(test, name);
	}
	KUNIT_EXPECT_TRUE(test, has_folders("same", 70));
}

#define TWINS	16

static int create_twins(struct worker *w)
{
	struct lockmap **maps = w->arg;

	lmtest_wait_at_gate(w);
	for (unsigned int i = 0; i < w->nr; i++) {
		maps[i] = lockmap_create(&(struct lockmap_params) {
			.name = "twin", .key_len = sizeof(u64), .nr_shards = 1,
		});
		if (IS_ERR(maps[i]))
			return PTR_ERR(maps[i]);
	}
	return 0;
}

/* Two CPUs create maps of one name at the same moment. */
static void maps_of_one_moment_have_folders(struct kunit *test)
{
	struct lockmap **maps = lmtest_zalloc(test, 2 * TWINS * sizeof(*maps));

	need_shell(test);
	for (unsigned int t = 0; t < 2; t++) {
		struct worker *w = lmtest_worker_create(test, create_twins, NULL, "create twins");

		w->arg = maps + t * TWINS;
		w->nr = TWINS;
		lmtest_worker_start(test, w);
	}
	lmtest_open_gate(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_TRUE(test, has_folders("twin", 2 * TWINS));
	for (unsigned int i = 0; i < 2 * TWINS; i++)
		lockmap_destroy(maps[i]);
}

/* Tasks count as waiting from the beginning of their waits. */
static void waits_are_counted_at_once(struct kunit *test)
{
	enum { WAITERS = 40 };
	struct lockmap *map = create_named(test, "waits");
	struct lockmap_entry *entry;

	need_shell(test);
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waits: *0"));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waiting now: *0"));
	entry = lmtest_hold(test, map, 5);
	for (unsigned int i = 0; i < WAITERS; i++)
		lmtest_expect_waiting(test, lmtest_start_op(test, map, i % 2 ? OP_LOCK :
							    OP_LOCK_SHARED, 5, 0));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waits: *40"));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waiting now: *40"));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "longest wait: *0 us"));

	/* One of them gives up. */
	lmtest_join(test, lmtest_start_op(test, map, OP_LOCK_TIMEOUT, 5, 1));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waits: *41"));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waiting now: *40"));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waits in vain: *1"));
	KUNIT_EXPECT_FALSE(test, has_line("waits/stats", "longest wait: *0 us"));
	lockmap_unlock(entry);
	lmtest_join(test, lmtest_start_op(test, map, OP_LOCK, 5, 0));
	lmtest_release_workers(test);
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waiting now: *0"));
	KUNIT_EXPECT_TRUE(test, has_line("waits/stats", "waits in vain: *1"));
}

static void shards_are_counted(struct kunit *test)
{
	struct lockmap *map = create_named(test, "shards");

	need_shell(test);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	KUNIT_EXPECT_TRUE(test, has_line("shards/stats", "values: *1"));
	KUNIT_EXPECT_TRUE(test, has_line("shards/stats", "shards: *1"));
	KUNIT_EXPECT_TRUE(test, has_line("shards/stats", "entries a shard: 1 to 1"));
}

/* Different keys look different, and those of printable bytes can be read. */
static void keys_are_shown(struct kunit *test)
{
	static const struct {
		const char *key;
		size_t len;
		const char *shown;	/* for grep: a dot for a backslash */
	} keys[] = {
		{ "plain", 5, "\"plain\"" },
		{ "two words", 9, "\"two words\"" },
		{ "a\"b", 3, "\"a.\"b\"" },
		{ "\"", 1, "\".\"\"" },
		{ "\\", 1, "\"..\"" },
		{ "a\\nb", 4, "\"a..nb\"" },
		{ "a\nb", 3, "610a62" },
		{ "610a62", 6, "\"610a62\"" },
		{ "zero", 5, "7a65726f00" },
		{ "\xc3\xa9", 2, "c3a9" },
		{ "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"", 33,
		  "\"\\(.\"\\)\\{32\\}\"[.][.][.]" },
	};
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "keys", .key_len = 64, .flags = LOCKMAP_VAR_KEY, .nr_shards = 1,
	});
	char line[128];

	need_shell(test);
	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		struct lockmap_entry *entry = lockmap_trylock(map, keys[i].key, keys[i].len);

		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		scnprintf(line, sizeof(line), "%s held by .*/%d", keys[i].shown, current->pid);
		KUNIT_EXPECT_TRUE_MSG(test, has_line("keys/held", line), "%s", line);
		lockmap_unlock(entry);
	}
}

static struct kunit_case debugfs_cases[] = {
	KUNIT_CASE(names_are_plain),
	KUNIT_CASE_SLOW(each_map_has_a_folder),
	KUNIT_CASE(maps_of_one_moment_have_folders),
	KUNIT_CASE(waits_are_counted_at_once),
	KUNIT_CASE(shards_are_counted),
	KUNIT_CASE(keys_are_shown),
	{}
};

struct kunit_suite lmtest_debugfs_suite = {
	.name = "lockmap_debugfs",
	.init = lmtest_init,
	.test_cases = debugfs_cases,
};
