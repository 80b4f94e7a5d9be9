#!/bin/sh
# Installs or upgrades Butai on Amazon Linux 2023, Ubuntu 24.04, Debian 12 or 13. docs/how-to/install-on-ec2.md tells the
# rest. What is done already is left alone, so it may be run again at any time; a first look changes nothing: --check.
# shellcheck disable=SC2034 # what is set here is read in steps/
set -eu
umask 022

usage() {
	cat <<'TEXT'
Usage: install.sh [OPTION]...

  --check            print what would be done and change nothing
  --wheel FILE       install this wheel; default: the copy of the repository that this script is in
  --wheelhouse DIR   take all packages of Python from this folder, none from the network (with --wheel)
  --docker FROM      where a missing Docker comes from: `own`, Docker's packages (default for Debian and Ubuntu);
                     `distribution` (default for Amazon Linux); `none`, you install it
  --compose FILE     the Compose plugin as one program, for Amazon Linux, which has no package of it
  --uninstall        remove the agent; settings and state stay
  --purge            with --uninstall: settings, secrets, certificates, state and user, too (needs --yes)
  --yes              do not ask
  --root DIR         work below this folder in place of /: for looking at other systems, and for tests
TEXT
}

HERE=$(CDPATH='' cd "$(dirname "$0")" && pwd)
SOURCE=$(dirname "$HERE")
CHECK='' WHEEL='' WHEELHOUSE='' FROM='' COMPOSE='' UNINSTALL='' PURGE='' YES='' R='' CHANGES=0

say() { printf '%s\n' "$*"; }
fail() {
	printf 'install.sh: %s\n' "$*" >&2
	exit 1
}
# step TEXT COMMAND...: the one way to change something. With --check only the text is printed.
step() {
	CHANGES=$((CHANGES + 1))
	if [ "$CHECK" ]; then
		say "would $1"
		return 0
	fi
	say "$1"
	shift
	"$@"
}
entry() { if [ "$R" ]; then grep "^$2:" "$R/etc/$1" 2>/dev/null; else getent "$1" "$2"; fi; }
number() { entry "$1" butai | cut -d: -f3; }
control() { if [ "$R" ]; then [ "$1" != enable ] || systemctl --quiet --root="$R" "$@"; else systemctl "$@"; fi; }
is_active() { [ ! "$R" ] && systemctl --quiet is-active butai; }

for part in packages host agent uninstall; do
	# shellcheck source=/dev/null # they are checked one by one
	. "$HERE/steps/$part.sh"
done

main() {
	while [ $# -gt 0 ]; do
		case $1 in
		--check) CHECK=yes ;;
		--uninstall) UNINSTALL=yes ;;
		--purge) PURGE=yes ;;
		--yes) YES=yes ;;
		--wheel | --wheelhouse | --docker | --compose | --root)
			[ $# -gt 1 ] || fail "$1 wants a value"
			case $1 in
			--wheel) WHEEL=$(realpath "$2") ;;
			--wheelhouse) WHEELHOUSE=$(realpath "$2") ;;
			--docker) FROM=$2 ;;
			--compose) COMPOSE=$(realpath "$2") ;;
			--root) R=$(realpath "$2") ;;
			esac
			shift
			;;
		-h | --help) usage && exit 0 ;;
		*) fail "there is no option $1; --help lists them" ;;
		esac
		shift
	done
	if [ "$R" = / ]; then R=''; fi
	[ "$CHECK" ] || [ "$(id -u)" = 0 ] || fail "only root may; --check looks without changing anything"
	[ -z "$PURGE" ] || [ "$UNINSTALL" ] || fail "--purge goes with --uninstall"
	[ -z "$WHEELHOUSE" ] || [ "$WHEEL" ] || fail "--wheelhouse goes with --wheel: a copy of the repository is built with packages from the network"
	for file in "$WHEEL" "$COMPOSE"; do [ -z "$file" ] || [ -r "$file" ] || fail "there is no file $file"; done
	RESTART=''
	if [ "$UNINSTALL" ]; then
		uninstall
	else
		system
		judge_engine
		if [ ! "$CHECK" ]; then (CHECK=yes daemon_json >/dev/null); fi # a conflict ends it before anything is changed
		packages
		user
		folders
		kernel
		agent
	fi
	[ "$CHANGES" -gt 0 ] || say "nothing to do"
	[ -z "$RESTART" ] || say "$RESTART"
	if [ ! "$UNINSTALL" ] && [ ! "$CHECK" ] && ! is_active; then
		say "Next: write /etc/butai/config.toml, then \`butai check-config\`, \`systemctl start butai\` and \`butai doctor\`."
	fi
}

main "$@"
