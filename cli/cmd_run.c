// SPDX-License-Identifier: BSD-3-Clause
/* uvdpa run: which devices, which program, and how it ended. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli.h"
#include "run.h"

/* ---- which devices ---- */

static int add_dev(struct run *run, const char *name, const char *path)
{
	struct run_dev *dev = &run->dev[run->ndevs];

	if (run->ndevs == RUN_DEVS_MAX) {
		fprintf(stderr, "uvdpa: run: at most %d devices\n", RUN_DEVS_MAX);
		return EXIT_FAILED;
	}
	if (!*name || strchr(name, '/') || strlen(name) >= sizeof(dev->name) ||
	    strlen(path) >= sizeof(dev->socket)) {
		fprintf(stderr,
			"uvdpa: run: \"%s=%s\": the name of a file in /dev (at most %zu bytes), "
			"and "
			"the path of its socket (at most %zu)\n",
			name, path, sizeof(dev->name) - 1, sizeof(dev->socket) - 1);
		return EXIT_USAGE;
	}
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	snprintf(dev->socket, sizeof(dev->socket), "%s", path);
	run->ndevs++;
	return EXIT_OK;
}

/* --chardev NAME=SOCKET */
static int add_option(struct run *run, char *option)
{
	char path[4096], *eq = strchr(option, '=');

	if (!eq) {
		fprintf(stderr, "uvdpa: run: --chardev wants NAME=SOCKET, not \"%s\"\n", option);
		return EXIT_USAGE;
	}
	*eq = '\0';
	if (cli_abs_path(eq + 1, path, sizeof(path))) {
		fprintf(stderr, "uvdpa: run: %s: the path is too long\n", eq + 1);
		return EXIT_USAGE;
	}
	return add_dev(run, option, path);
}

static int set_vduse(struct run *run, const char *given)
{
	char path[4096];

	if (cli_abs_path(given, path, sizeof(path)) || strlen(path) >= sizeof(run->vduse)) {
		fprintf(stderr, "uvdpa: run: %s: the path is too long\n", given);
		return EXIT_USAGE;
	}
	strcpy(run->vduse, path);
	return EXIT_OK;
}

/* The daemon's endpoint for device processes, where it has one. */
static int ask_vduse(struct cli *cli, struct run *run)
{
	const char *path = NULL;
	json_t *answer;
	int ret = cli_call(cli, "daemon.info", json_object(), &answer);

	if (ret)
		return ret;
	if (!json_unpack(answer, "{s:s}", "vduse", &path) && strlen(path) < sizeof(run->vduse))
		strcpy(run->vduse, path);
	json_decref(answer);
	return EXIT_OK;
}

/* Those of the daemon that are bound to vhost-vdpa. */
static int ask_devices(struct cli *cli, struct run *run)
{
	json_t *answer;
	const char *name = NULL, *path;
	int ret = cli_call(cli, "dev.show", json_pack("{s:b}", "all", 1), &answer);
	json_t *dev;
	size_t i;

	if (ret)
		return ret;
	json_array_foreach(answer, i, dev)
	{
		path = NULL;
		json_unpack(dev, "{s:{s:{s:s,s:s}}}", "driver", "show", "chardev", &name, "path",
			    &path);
		if (path && name && !strncmp(name, "vhost-vdpa-", 11))
			ret = ret ? ret : add_dev(run, name, path);
	}
	json_decref(answer);
	return ret;
}

static int ask_daemon(struct cli *cli, struct run *run)
{
	int ret = ask_devices(cli, run);

	if (!ret)
		ret = ask_vduse(cli, run);
	if (!ret && !run->ndevs && !*run->vduse) {
		fprintf(stderr,
			"uvdpa: run: no device is bound to the driver vhost-vdpa: uvdpa dev bind "
			"NAME driver vhost-vdpa path SOCKET; nor does the daemon serve VDUSE "
			"(uvdpad --vduse)\n");
		ret = EXIT_FAILED;
	}
	return ret;
}

/* ---- the program ---- */

static int send_listener(int sock, int listener)
{
	struct iovec iov = {&listener, sizeof(listener)};
	ssize_t n = vdpa_sock_send(sock, &iov, 1, &listener, listener >= 0);

	return n == sizeof(listener) ? 0 : -1;
}

static void child(const struct run *run, int sock, char **argv)
{
	int listener;
	char go;

	/* Its devices end with us. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	listener = run_trap_install(run);
	if (send_listener(sock, listener) || listener < 0)
		_exit(127);
	/* Not before somebody answers; the descriptors end with exec. */
	if (read(sock, &go, 1) != 1)
		_exit(127);
	execvp(argv[0], argv);
	fprintf(stderr, "uvdpa: run: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int receive_listener(int sock)
{
	struct vdpa_fds fds;
	int err = -EPIPE, fd;
	ssize_t n = vdpa_sock_recv(sock, &err, sizeof(err), &fds, 0);

	fd = vdpa_fds_take(&fds, 0);
	vdpa_fds_close(&fds);
	if (n == sizeof(err) && fd >= 0)
		return fd;
	fprintf(stderr,
		"uvdpa: run: the system calls of the program cannot be watched: %s (Linux 5.14 or "
		"later is needed, and no other watcher)\n",
		strerror(-err));
	return -1;
}

/* What ends us ends the program, which decides what that means; and how it ended is a signal too.
 */
static const int forwarded[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};

/* From here on signals are waited for, not delivered; @old is for the program. */
static void hold_signals(sigset_t *held, sigset_t *old)
{
	sigemptyset(held);
	sigaddset(held, SIGCHLD);
	for (unsigned i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(held, forwarded[i]);
	sigprocmask(SIG_BLOCK, held, old);
}

struct server {
	struct run *run;
	int listener;
};

static void *serve(void *arg)
{
	const struct server *server = arg;

	run_trap_serve(server->run, server->listener);
	return NULL;
}

int run_thread(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

/* The program's exit status, as a shell has it. */
static int wait_program(pid_t program, const sigset_t *held)
{
	siginfo_t info;
	int status;

	for (;;) {
		int sig = sigwaitinfo(held, &info);

		if (sig == SIGCHLD && waitpid(program, &status, WNOHANG) == program)
			break;
		/* A terminal tells both of us by itself. */
		if (sig > 0 && sig != SIGCHLD && info.si_code != SI_KERNEL)
			kill(program, sig);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The program waits behind @sock: have its opens answered, and let it go. */
static int serve_program(struct run *run, int sock, pid_t program, const sigset_t *held)
{
	struct server server = {.run = run, .listener = receive_listener(sock)};
	struct run_files *files = NULL;
	pthread_t thread;
	bool served, told;
	int status;

	served = server.listener >= 0 && !run_files_start(run, &files) &&
		 !run_thread(&thread, serve, &server);
	told = served && write(sock, "", 1) == 1;
	/* Where it was not told to go on, this ends it. */
	close(sock);
	status = wait_program(program, held);
	/* What the program has started may go on with its devices after it. Nobody is left to whom
	 * a signal could be passed on: it is for us. */
	sigprocmask(SIG_UNBLOCK, held, NULL);
	if (served)
		pthread_join(thread, NULL);
	run_vduse_end(run);
	if (files)
		run_files_stop(run, files);
	return told ? status : EXIT_FAILED;
}

/* The program is forked off before there is any thread: what it does until exec is then allowed. */
static int run_program(struct run *run, char **argv)
{
	sigset_t held, old;
	pid_t program;
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock)) {
		perror("uvdpa: run");
		return EXIT_FAILED;
	}
	hold_signals(&held, &old);
	program = fork();
	if (program < 0) {
		perror("uvdpa: run");
		return EXIT_FAILED;
	}
	if (!program) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		close(sock[0]);
		child(run, sock[1], argv);
	}
	close(sock[1]);
	return serve_program(run, sock[0], program, &held);
}

static const char usage[] =
	"Usage: uvdpa run [ --chardev NAME=SOCKET ]... [ --vduse SOCKET ] [ -- ] PROGRAM [ ARGS ]\n"
	"Run a program that sees the daemon's devices which are bound to vhost-vdpa as\n"
	"/dev/vhost-vdpa-N, or the given sockets as /dev/NAME; and the daemon's endpoint for\n"
	"device processes (uvdpad --vduse), or the given one, as /dev/vduse.\n"
	"Its exit status is that of the program; the program is ended by what ends uvdpa.\n"
	"The memory that the program gives to the devices must be shared (in QEMU: -object\n"
	"memory-backend-memfd,share=on).\n";

int cmd_run(struct cli *cli, int argc, char **argv)
{
	struct run run = {.mount = -1};
	int ret = EXIT_OK, i = 0;
	char **words;
	bool vduse;

	if (argc && !strcmp(argv[0], "help")) {
		fputs(usage, stdout);
		return EXIT_OK;
	}
	while (!ret && i < argc && argv[i][0] == '-') {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		vduse = !strcmp(argv[i], "--vduse");
		if ((!vduse && strcmp(argv[i], "--chardev")) || i + 1 == argc)
			return cli_usage(cli,
					 "run: --chardev NAME=SOCKET, --vduse SOCKET, then -- "
					 "PROGRAM; not \"%s\"",
					 argv[i]);
		ret = vduse ? set_vduse(&run, argv[i + 1]) : add_option(&run, argv[i + 1]);
		i += 2;
	}
	if (!ret && i == argc)
		return cli_usage(cli, "run: a program is missing");
	if (!ret && !run.ndevs && !*run.vduse)
		ret = ask_daemon(cli, &run);
	if (ret)
		return ret;
	/* Behind argc words there is no NULL. */
	words = calloc((size_t)(argc - i) + 1, sizeof(*words));
	if (!words)
		return EXIT_FAILED;
	memcpy(words, argv + i, (size_t)(argc - i) * sizeof(*words));
	ret = run_ns_enter(&run) ? EXIT_FAILED : run_program(&run, words);
	free(words);
	return ret;
}
