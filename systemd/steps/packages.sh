# shellcheck shell=sh disable=SC2034,SC2154 # names are shared with install.sh, which reads this file
# What this host is, and the packages it lacks: Python, git, Docker with its plugins and settings.

COMPOSE_VERSION=v5.2.0

system() {
	[ -r "$R/etc/os-release" ] || fail "there is no /etc/os-release: the system is unknown"
	# shellcheck disable=SC1091 # it is the host's
	OS=$(. "$R/etc/os-release" && echo "$ID-${VERSION_ID:-}")
	case $OS in
	debian-12 | debian-13 | ubuntu-24.04) FAMILY=debian FROM=${FROM:-own} ;;
	amzn-2023*) FAMILY=amazon FROM=${FROM:-distribution} ;;
	*) fail "this is $OS; Amazon Linux 2023, Ubuntu 24.04, Debian 12 and 13 are known. systemd/README.md has the steps by hand" ;;
	esac
	# What is installed decides how plugins of it are called.
	if [ "$FROM" != none ]; then
		if [ -e "$R/var/lib/dpkg/info/docker.io.list" ]; then FROM=distribution; fi
		if [ -e "$R/var/lib/dpkg/info/docker-ce.list" ]; then FROM=own; fi
	fi
	case $OS-$FROM in
	*-none | *-distribution | debian*-own | ubuntu*-own) ;;
	amzn*-own) fail "Docker has no packages for Amazon Linux: leave --docker out" ;;
	*) fail "--docker is own, distribution or none, not $FROM" ;;
	esac
	if [ "$OS-$FROM" = debian-12-distribution ]; then
		fail "Docker of Debian 12 is 20.10, and the agent needs 25: remove docker.io, then use Docker's own packages (--docker own)"
	fi
}
find_python() { # the newest that can run the agent and make virtual environments
	PYTHON=''
	for name in python3.13 python3.12 python3.11 python3; do
		if "$R/usr/bin/$name" -c 'import sys, importlib.util as found
sys.exit(sys.version_info < (3, 11) or not found.find_spec("ensurepip"))' 2>/dev/null; then
			PYTHON=$R/usr/bin/$name
			return 0
		fi
	done
}
has_plugin() {
	for folder in usr/libexec usr/lib usr/local/lib usr/local/libexec; do
		if [ -e "$R/$folder/docker/cli-plugins/docker-$1" ]; then return 0; fi
	done
	return 1
}
has_engine() { # Debian's package is the one that puts it into sbin
	[ -x "$R/usr/bin/dockerd" ] || [ -x "$R/usr/sbin/dockerd" ]
}
judge_engine() { # what is there already and too old is not ours to replace
	[ -x "$R/usr/bin/docker" ] || return 0
	version=$("$R/usr/bin/docker" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
	[ "${version:-0}" -ge 25 ] || fail "Docker $version is installed, and the agent needs 25: upgrade it first"
}
daemon_json() {
	if [ ! -x "$R/usr/bin/python3" ]; then
		say "would look at /etc/docker/daemon.json once there is python3"
		return 0
	fi
	pool=$(sed -n 's/^address_pool *= *"\(.*\)".*/\1/p' "$R/etc/butai/config.toml" 2>/dev/null || :)
	set -- --root "${R:-/}" ${pool:+--agent-pool "$pool"} "$@"
	lines=$("$R/usr/bin/python3" -B "$HERE/daemon_json.py" "$@") && status=0 || status=$?
	[ "$status" -ne 1 ] || fail "decide about /etc/docker/daemon.json, then run this again"
	[ -z "$lines" ] || if [ "$CHECK" ]; then say "$lines" | sed 's/^/would add to /'; else say "$lines"; fi
	[ -z "$lines" ] || CHANGES=$((CHANGES + 1))
}


missing_packages() { # prints them
	if [ ! -x "$R/usr/bin/git" ]; then echo git; fi
	if [ "$FAMILY" = debian ]; then
		if [ ! "$PYTHON" ]; then echo python3 python3-venv; fi
		if [ ! -x "$R/usr/bin/ssh" ]; then echo openssh-client; fi
		if [ ! -x "$R/usr/sbin/iptables" ]; then echo iptables; fi # else the agent has no wall
	else
		if [ ! "$PYTHON" ]; then echo python3.11 python3.11-pip; fi
		if [ ! -x "$R/usr/bin/ssh" ]; then echo openssh-clients; fi
		if [ ! -x "$R/usr/sbin/iptables" ]; then echo iptables-nft; fi
	fi
}
missing_docker() {
	engine='' compose='' buildx=''
	case $OS-$FROM in
	*-none) return 0 ;;
	*-own) engine='docker-ce docker-ce-cli containerd.io' compose=docker-compose-plugin buildx=docker-buildx-plugin ;;
	ubuntu-*) engine=docker.io compose=docker-compose-v2 buildx=docker-buildx ;;
	debian-*) engine='docker.io docker-cli' compose=docker-compose buildx=docker-buildx ;;
	amzn-*) engine=docker ;; # Buildx is in it, Compose in no package
	esac
	if ! has_engine; then echo "$engine"; fi
	if ! has_plugin compose; then echo "$compose"; fi
	if ! has_plugin buildx; then echo "$buildx"; fi
}
install_packages() {
	[ ! "$R" ] || fail "packages are not installed below --root: $*"
	if [ "$FAMILY" = amazon ]; then
		dnf install -q -y "$@"
	else
		# A host that just booted for the first time may be at its own upgrades.
		apt-get update -q -o DPkg::Lock::Timeout=300
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends "$@"
	fi
}
add_docker_source() {
	install_packages ca-certificates curl
	distribution=${OS%%-*}
	install -d -m 0755 /etc/apt/keyrings
	curl -fsSL "https://download.docker.com/linux/$distribution/gpg" -o /etc/apt/keyrings/docker.asc
	# shellcheck disable=SC1091
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	printf 'Types: deb\nURIs: https://download.docker.com/linux/%s\nSuites: %s\nComponents: stable\nSigned-By: %s\n' \
		"$distribution" "$codename" /etc/apt/keyrings/docker.asc >/etc/apt/sources.list.d/docker.sources
}
fetch_compose() { # there is no signature to check: its sum comes from the same place, over https
	scratch=$(mktemp -d)
	name=docker-compose-linux-$(uname -m)
	url=https://github.com/docker/compose/releases/download/$COMPOSE_VERSION/$name
	curl -fsSL --remote-name-all --output-dir "$scratch" "$url" "$url.sha256" ||
		fail "the Compose plugin cannot be fetched; hand it over: --compose FILE"
	(cd "$scratch" && sha256sum --check --quiet "$name.sha256") || fail "the Compose plugin is damaged: $url"
	put_compose "$scratch/$name"
	rm -r "$scratch"
}
put_compose() { install -D -m 0755 "$1" "$R/usr/local/lib/docker/cli-plugins/docker-compose"; }
packages() {
	find_python
	wanted=$(missing_packages | xargs)
	# shellcheck disable=SC2086 # one word each
	[ -z "$wanted" ] || step "install packages: $wanted" install_packages $wanted
	[ "$PYTHON" ] || find_python
	had_engine=''
	if has_engine; then had_engine=yes; fi
	before=$CHANGES
	if [ "$CHECK" ]; then daemon_json; else daemon_json --write; fi # before the engine's first start
	if [ "$had_engine" ] && [ "$before" -ne "$CHANGES" ]; then
		RESTART="Docker reads its settings again: \`systemctl reload docker\` takes up live-restore; then, when it suits,
  \`systemctl restart docker\` takes up all else (before the reload it would stop containers)."
	fi
	wanted=$(missing_docker | xargs)
	if [ "$wanted" ] && [ "$FROM" = own ] && [ ! -e "$R/etc/apt/sources.list.d/docker.sources" ] &&
		[ ! -e "$R/etc/apt/sources.list.d/docker.list" ]; then
		step "add Docker's own source of packages to apt" add_docker_source
	fi
	# shellcheck disable=SC2086
	[ -z "$wanted" ] || step "install packages: $wanted" install_packages $wanted
	if [ "$FAMILY" = amazon ] && [ "$FROM" != none ] && ! has_plugin compose; then
		if [ "$COMPOSE" ]; then
			step "install the Compose plugin from $COMPOSE" put_compose "$COMPOSE"
		else
			step "fetch the Compose plugin $COMPOSE_VERSION" fetch_compose
		fi
	fi
	if [ "$FAMILY" = amazon ] && [ ! "$R" ] && [ "$FROM" != none ] && ! systemctl --quiet is-enabled docker 2>/dev/null; then
		step "start Docker, now and with the host" systemctl enable --now docker
	fi
}
