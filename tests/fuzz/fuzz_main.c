// SPDX-License-Identifier: BSD-3-Clause
/*
 * Runs a fuzz target without libFuzzer: files that are given, else inputs from a seeded generator.
 *
 *	ring_fuzz [-s SEED] [-n RUNS] [-t SECONDS] [-l MAX_BYTES] [FILE...]
 *
 * Run i uses seed SEED + i. When one of them dies, its seed is printed: "-s THAT -n 1" does it
 *again.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static unsigned long long current_seed;

static void say_seed(void)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "died with: -s %llu -n 1\n", current_seed);

	if (write(STDERR_FILENO, line, (size_t)n) != n)
		_exit(1);
}

static void on_signal(int sig)
{
	say_seed();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void report_deaths(void)
{
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(say_seed);
		signal(SIGABRT, on_signal);
		return;
	}
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGFPE, on_signal);
}

static uint64_t next_random(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/*
 * Bytes with the values that programs stumble over: runs of one value, small numbers, all ones, and
 * pieces of what came before.
 */
static size_t generate(uint64_t seed, uint8_t *buf, size_t max)
{
	uint64_t s = seed;
	size_t len = next_random(&s) % (max + 1), at = 0;

	while (at < len) {
		uint64_t r = next_random(&s);
		size_t run = 1 + (r >> 8) % 16;

		if (run > len - at)
			run = len - at;
		switch (r % 8) {
		case 0:
			memset(buf + at, 0, run);
			break;
		case 1:
			memset(buf + at, 0xff, run);
			break;
		case 2:
			if (at >= run) {
				memcpy(buf + at, buf + (r >> 32) % (at - run + 1), run);
				break;
			}
			/* fall through */
		default:
			for (size_t i = 0; i < run; i++)
				buf[at + i] = (uint8_t)(r % 8 < 5 ? next_random(&s) % 8
								  : next_random(&s));
		}
		at += run;
	}
	return len;
}

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *buf = malloc(1 << 20);
	size_t n;

	if (!f || !buf) {
		perror(path);
		return 1;
	}
	n = fread(buf, 1, 1 << 20, f);
	fclose(f);
	LLVMFuzzerTestOneInput(buf, n);
	free(buf);
	return 0;
}

static void run_random(unsigned long long seed, unsigned long long runs, double seconds, size_t max)
{
	struct timespec start, now;
	unsigned long long i;
	double spent = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < runs && spent < seconds; i++) {
		/* Exactly as large as the input, so that a read behind it is found. */
		uint8_t *scratch = malloc(max + 1), *data;
		size_t len;

		current_seed = seed + i;
		len = generate(current_seed, scratch, max);
		data = malloc(len ? len : 1);
		memcpy(data, scratch, len);
		free(scratch);
		LLVMFuzzerTestOneInput(data, len);
		free(data);
		clock_gettime(CLOCK_MONOTONIC, &now);
		spent = (double)(now.tv_sec - start.tv_sec) +
			(double)(now.tv_nsec - start.tv_nsec) / 1e9;
	}
	printf("%llu inputs in %.1f s\n", i, spent);
}

int main(int argc, char **argv)
{
	unsigned long long seed = 1, runs = ~0ull;
	double seconds = 3;
	size_t max = 2048;
	int opt;

	while ((opt = getopt(argc, argv, "s:n:t:l:")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			runs = strtoull(optarg, NULL, 0);
			break;
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		case 'l':
			max = strtoul(optarg, NULL, 0);
			break;
		default:
			return 2;
		}
	}
	report_deaths();
	if (optind == argc)
		run_random(seed, runs, seconds, max);
	for (int i = optind; i < argc; i++) {
		if (run_file(argv[i]))
			return 1;
	}
	return 0;
}
