#!/bin/sh
# Checks that this machine has what a tier needs, and brings what is missing.
#
#   bench/require.sh TIER...      tiers: build, bench, test, extras
#
# Silent and quick when nothing is missing.  Otherwise it lists the missing Debian packages and installs them
# after asking on a terminal, or without asking when CI or YES is set (CI=1, CI=true, YES=1).  Where it may not
# install, it prints the one command that does, and exits 1.  Needs are checked by what is really used (a command,
# a pkg-config module, a header, a Python module), so that tools from elsewhere count too.
set -u
PATH=$PATH:/usr/sbin:/sbin  # where daemons are, and a user's PATH does not reach

missing=

need() { # PACKAGE KIND NAME: notes the package unless the thing is here
	case $2 in
	command) command -v "$3" >/dev/null 2>&1 && return ;;
	module) pkg-config --exists "$3" 2>/dev/null && return ;;
	header) [ -e "/usr/include/$3" ] || [ -e "/usr/local/include/$3" ] && return ;;
	file) for path in $3; do [ -e "$path" ] && return; done ;;
	esac
	missing="$missing $1"
}

# Python modules must be importable together, by one of the interpreters that bench/interpreter.py would try.
need_python() { # PACKAGE=MODULE...
	least=
	for python in /usr/bin/python3 python3 /usr/local/bin/python3; do
		command -v "$python" >/dev/null 2>&1 || continue
		lacks=$("$python" -c '
import sys
from importlib.util import find_spec
wanted = [pair.split("=") for pair in sys.argv[1:]]
print(*[package for package, module in wanted if sys.version_info < (3, 11) or find_spec(module) is None])' "$@" 2>/dev/null) || continue
		[ -z "$lacks" ] && return
		[ -z "$least" ] && least=$lacks
	done
	if [ -z "$least" ]; then
		least=python3
		for pair; do least="$least ${pair%%=*}"; done
	fi
	missing="$missing $least"
}

tier() {
	case $1 in
	build)
		need gcc command "${CC:-cc}"
		need make command make
		need libc6-dev header stdio.h
		need pkg-config command pkg-config
		need liburing-dev module liburing
		need libjansson-dev module jansson
		;;
	bench)
		need_python python3-numpy=numpy python3-scipy=scipy python3-matplotlib=matplotlib python3-rich=rich \
			python3-jsonschema=jsonschema python3-jinja2=jinja2
		need gnuplot-nox command gnuplot
		need iproute2 command ip
		need wrk command wrk
		need hyperfine command hyperfine
		;;
	test)
		need_python python3-pytest=pytest python3-pytest-xdist=xdist python3-numpy=numpy python3-scipy=scipy \
			python3-matplotlib=matplotlib python3-rich=rich python3-jsonschema=jsonschema python3-jinja2=jinja2
		need libcmocka-dev module cmocka
		need clang command clang
		need libclang-rt-14-dev file "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a /usr/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a"
		need gnuplot-nox command gnuplot
		need curl command curl
		need wrk command wrk
		need apache2-utils command ab
		need nghttp2-client command h2load
		need netcat-openbsd command nc
		need strace command strace
		need valgrind command valgrind
		need libuv1-dev module libuv  # the models that are built on libraries: left out elsewhere, complete here
		need libevent-dev module libevent_core
		need libev-dev header ev.h
		;;
	extras)
		need nginx-light command nginx
		need redis-server command redis-server
		need memcached command memcached
		need libuv1-dev module libuv  # the models that are built on libraries: left out elsewhere, complete here
		need libevent-dev module libevent_core
		need libev-dev header ev.h
		need libbpf-dev module libbpf
		need clang command clang
		;;
	*)
		echo "require.sh: unknown tier '$1': expected build, bench, test or extras" >&2
		exit 2
		;;
	esac
}

# Daemons that come with a package must not start: they would take ports and CPU from the measurements.  A
# policy-rc.d of the administrator's own is left as it is.
policy=/usr/sbin/policy-rc.d
install_command='apt-get install -y --no-install-recommends'

as_root() { # runs a command as root: directly, or by sudo (which may ask for a password on a terminal only)
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

may_be_root() {
	[ "$(id -u)" = 0 ] && return
	command -v sudo >/dev/null 2>&1 || return 1
	[ -t 0 ] || sudo -n true 2>/dev/null
}

give_up() { # WHY
	echo "require.sh: $1. Run:" >&2
	echo "  sudo $install_command$missing" >&2
	exit 1
}

install() {
	made_policy=
	if [ ! -e $policy ]; then
		made_policy=yes
		trap 'as_root rm -f $policy' EXIT
		trap 'exit 130' INT TERM HUP
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy || return 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	# A fresh machine has no package lists, and an old one has outdated ones: one refresh, then a second try.
	# shellcheck disable=SC2086  # the packages are words
	as_root env DEBIAN_FRONTEND=noninteractive $install_command $missing ||
		{ as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive $install_command $missing; }
	status=$?
	if [ -n "$made_policy" ]; then
		trap - EXIT INT TERM HUP
		as_root rm -f $policy
	fi
	return $status
}

[ $# -gt 0 ] || { echo "usage: bench/require.sh build|bench|test|extras ..." >&2; exit 2; }
for name; do tier "$name"; done
missing=$(for package in $missing; do echo "$package"; done | sort -u | while read -r package; do printf ' %s' "$package"; done)
[ -n "$missing" ] || exit 0

echo "require.sh: missing for $*:$missing" >&2
command -v apt-get >/dev/null 2>&1 || give_up "this system has no apt-get; install the like of these packages. On Debian"
case ${CI:-}/${YES:-} in
1/* | true/* | */1 | */yes) may_be_root || give_up "installing needs root, and sudo does not work without a password" ;;
*)
	[ -t 0 ] || give_up "nobody to ask here (CI=1 or YES=1 installs without asking)"
	may_be_root || give_up "installing needs root, and there is no sudo"
	printf 'Install them now with %s? [Y/n] ' "$install_command" >&2
	read -r answer
	case $answer in '' | [Yy]*) ;; *) give_up "not installed" ;; esac
	;;
esac
install || give_up "the installation failed (see above)"
