#!/usr/bin/env bash
# Builds the test guest under build/testguest: Debian's cloud kernel and static busybox, unpacked and never installed,
# and the agent of tests/guest. Two forms of the same guest:
#   disk.qcow2        a bootable disk (SeaBIOS, ISOLINUX), for a containerDisk
#   vmlinuz, initrd   for kernelBoot; kernel.oci.tar is a container image (OCI layout) with both in /boot, and with
#                     initrd-agent, which brings Debian's qemu-ga along
# The images are bit-identical for the same packages and sources, and are kept until one of the sources changes.
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
out=$top/build/testguest
root=$out/root
export SOURCE_DATE_EPOCH=1700000000 TZ=UTC
agent_packages=(qemu-guest-agent libc6 libglib2.0-0 libnuma1 libpcre2-8-0 libudev1 liburing2)
modules=(virtio_pci virtio_net virtio_blk virtio_scsi sd_mod virtio_balloon virtio-rng isofs button evdev)

sources() { cat tools/testguest/build.sh tests/guest/* tests/probe/{echo.c,echo.h,pattern.h,udp.h} | sha256sum; }

# Downloads packages into build/testguest/debs and unpacks them.
fetch() {
    local kernel
    kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' |
        head -n 1)
    [ -n "$kernel" ] || kernel=$(apt-cache depends linux-image-virtual | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
    mkdir -p "$out/debs"
    (cd "$out/debs" && apt-get -q download -o APT::Sandbox::User=root "$kernel" busybox-static isolinux syslinux-common \
        "${agent_packages[@]}")
    rm -rf "$out/unpacked"
    for deb in "$out"/debs/*.deb; do dpkg -x "$deb" "$out/unpacked"; done
}

compile_agent() {
    gcc -O2 -static -s -Wall -Wextra -Werror -Wshadow -Wno-unused-parameter -std=gnu17 -D_GNU_SOURCE -o "$root/bin/agent" \
        tests/guest/*.c tests/probe/echo.c
}

# copy_modules FOLDER MODULE...: the modules with all that they depend on, in an order that loads.
copy_modules() {
    local to=$1 version path
    shift
    mkdir -p "$to"
    version=$(basename "$out"/unpacked/lib/modules/*)
    depmod -b "$out/unpacked" "$version"
    for module in "$@"; do
        modprobe -d "$out/unpacked" -S "$version" --show-depends "$module"
    done | awk '$1=="insmod" && !seen[$2]++ {print $2}' | while read -r path; do
        cp "$path" "$to/"
        basename "$path"
    done >"$to/order"
}

# What the program at $1 needs of the unpacked libraries, its loader included, and what they need.
libraries() {
    local name path
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while read -r name; do
        path=$(find "$out/unpacked/lib" "$out/unpacked/usr/lib" "$out/unpacked/lib64" -name "$name" | head -n 1)
        [ -z "$path" ] || { echo "$path"; libraries "$path"; }
    done
}

# qemu-ga with its libraries and driver, as what is laid over the guest's root.
fill_agent_root() {
    local path
    rm -rf "$root"
    mkdir -p "$root"/{bin,sbin,etc,lib64,lib/x86_64-linux-gnu,var/run}
    printf '%s\n' '#!/bin/sh' 'exec /bin/reboot -f' >"$root/sbin/shutdown" # which qemu-ga runs
    chmod 755 "$root/sbin/shutdown"
    cp "$out/unpacked/usr/sbin/qemu-ga" "$root/bin/"
    libraries "$root/bin/qemu-ga" | sort -u | while read -r path; do
        case $path in */ld-linux*) cp -L "$path" "$root/lib64/" ;; *) cp -L "$path" "$root/lib/x86_64-linux-gnu/" ;; esac
    done
    cp -L "$out"/unpacked/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/"
    copy_modules "$root/modules-agent" virtio_console loop
    printf '%s\n' 'NAME="Godwit test guest"' 'ID=godwit' 'PRETTY_NAME="Godwit test guest 1"' 'VERSION="1 (Test)"' \
        'VERSION_ID=1' >"$root/etc/os-release"
}

fill_root() {
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,etc,modules,proc,sys,root}
    cp "$out"/unpacked/bin/busybox "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    cp tests/guest/init "$root/init"
    cp tests/guest/udhcpc.script "$root/etc/udhcpc.script"
    chmod 755 "$root/init" "$root/etc/udhcpc.script"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    # The password is "godwit".
    echo "root:$(openssl passwd -6 -salt godwit godwit):1::::::" >"$root/etc/shadow"
    printf '%s\n' 'Godwit test guest: log in as root, password godwit.' \
        'Its agent: nc 127.0.0.1 7000, then help.' >"$root/etc/issue"
    compile_agent
    copy_modules "$root/modules" "${modules[@]}"
}

pack_root() {
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) | gzip -9n
}

# An ISO that is a bootable disk as well, grown to 64 MiB so that the guest has room to write to.
make_disk() {
    local tree=$out/tree lib=$out/unpacked/usr/lib
    rm -rf "$tree" && mkdir "$tree"
    cp "$out/vmlinuz" "$out/initrd" "$lib/ISOLINUX/isolinux.bin" "$lib/syslinux/modules/bios/ldlinux.c32" "$tree"
    printf '%s\n' 'default guest' 'label guest' 'kernel vmlinuz' \
        'append initrd=initrd console=ttyS0 quiet mitigations=off panic=-1' >"$tree/isolinux.cfg"
    find "$tree" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
    xorriso -as mkisofs -quiet -V GODWITGUEST -o "$out/disk.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
        -boot-load-size 4 -boot-info-table -isohybrid-mbr "$lib/ISOLINUX/isohdpfx.bin" "$tree"
    truncate -s 64M "$out/disk.iso"
    qemu-img convert -f raw -O qcow2 "$out/disk.iso" "$out/disk.qcow2"
}

reproducible_tar() { tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner "$@"; }

# Moves a file into the image layout's blobs and prints its descriptor's digest and size.
add_blob() {
    local hex; hex=$(sha256sum "$1" | cut -d' ' -f1)
    printf '"digest":"sha256:%s","size":%s' "$hex" "$(stat -c %s "$1")"
    mv "$1" "$out/layout/blobs/sha256/$hex"
}

# An image layout as the OCI image specification has it: one layer, its configuration, a manifest, an index.
make_kernel_image() {
    local layout=$out/layout layer config diff_id
    rm -rf "$layout" && mkdir -p "$layout/blobs/sha256"
    reproducible_tar -C "$out" --transform 's,^,boot/,' -cf "$out/layer" vmlinuz initrd initrd-agent
    diff_id=$(sha256sum "$out/layer" | cut -d' ' -f1)
    layer=$(add_blob "$out/layer")
    printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$diff_id" >"$out/config"
    config=$(add_blob "$out/config")
    printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[{%s,%s}]}' \
        "$config" '"mediaType":"application/vnd.oci.image.layer.v1.tar"' "$layer" >"$out/manifest"
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s}]}' \
        "$(add_blob "$out/manifest")" >"$layout/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    reproducible_tar -C "$layout" -cf "$out/kernel.oci.tar" oci-layout index.json blobs
    rm -rf "$layout"
}

[ "$(cat "$out/stamp" 2>/dev/null)" = "$(sources)" ] && exit 0
mkdir -p "$out"
[ -x "$out/unpacked/usr/sbin/qemu-ga" ] || fetch
fill_root
pack_root >"$out/initrd"
fill_agent_root
pack_root | cat "$out/initrd" - >"$out/initrd-agent" # the kernel unpacks one after the other
cp "$out"/unpacked/boot/vmlinuz-* "$out/vmlinuz"
make_disk
make_kernel_image
rm -rf "$root" "$out/tree" "$out/disk.iso"
sources >"$out/stamp"
