"""Facts about this machine for a run's manifest, none that names its owner. What cannot be found out is None."""

from __future__ import annotations

import gzip
import os
import platform
import re
import resource
import time
from pathlib import Path
from typing import Any

import psutil

from experiment.host.cpus import governor, sibling_groups, steal_share, steal_ticks, turbo
from experiment.host.hierarchies import CgroupHost, detect


def usable_cpus() -> frozenset[int]:
    """CPUs that this process may run on: fewer than the machine has, under taskset, a cpuset or in a container."""
    return frozenset(os.sched_getaffinity(0))


def raise_descriptor_limit() -> None:
    """Every role inherits it: a session costs a descriptor on either side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def facts(host: CgroupHost | None = None) -> dict[str, Any]:
    """JSON-ready; no host name, no user name, no address."""
    host = host or detect()
    system = os.uname()
    cpus = usable_cpus()
    since_boot = steal_ticks(cpus)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "system": system.sysname,
        "kernel": system.release,
        "kernel_build": system.version,
        "machine": system.machine,
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": sorted(cpus),
        "cores_physical": psutil.cpu_count(logical=False),
        "cpus_sharing_a_core": sibling_groups(cpus),
        "memory_bytes": psutil.virtual_memory().total,
        "swap_bytes": _swap_bytes(),
        "virtualisation": virtualisation(),
        "container": container(),
        "cgroup": host.kind,
        "cgroup_writable": host.writable,
        "cgroup_controllers": sorted(host.controllers),
        "cgroup_explained": host.explain(),
        "outer_quotas": [{"group": quota.group, "vcpus": quota.vcpus} for quota in host.quotas],
        "governor": governor(cpus),
        "turbo": turbo(cpus),
        "steal_share": steal_share(dict.fromkeys(since_boot, (0, 0)), since_boot) if since_boot else None,
        "kernel_hz": kernel_hz(),
        "cfs_bandwidth_slice_us": _number("/proc/sys/kernel/sched_cfs_bandwidth_slice_us"),
        "scheduler_base_slice_ns": _number("/sys/kernel/debug/sched/base_slice_ns"),
        "clocksource": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "monotonic_resolution_ns": round(time.get_clock_info("monotonic").resolution * 1e9),
        "open_files_soft": soft,
        "open_files_hard": hard,
        "ephemeral_ports": _numbers("/proc/sys/net/ipv4/ip_local_port_range"),
        "somaxconn": _number("/proc/sys/net/core/somaxconn"),
        "tcp_memory_pages": _numbers("/proc/sys/net/ipv4/tcp_mem"),
        "load_average": list(os.getloadavg()),
    }


def cpu_model() -> str | None:
    match = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", _text("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def virtualisation() -> str | None:
    """A hint: what the firmware or Xen calls the machine, or just "hypervisor" from the CPU's own flag."""
    if hypervisor := _text("/sys/hypervisor/type"):
        return hypervisor
    if not re.search(r"^flags\s*:.*\bhypervisor\b", _text("/proc/cpuinfo") or "", re.MULTILINE):
        return None
    names = (_text(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(name for name in names if name) or "hypervisor"


def container() -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    return "podman" if Path("/run/.containerenv").exists() else None


def kernel_hz() -> int | None:
    """The scheduler's tick rate, from the kernel's own configuration (`getconf CLK_TCK` is always 100)."""
    try:
        config = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        config = _text(f"/boot/config-{os.uname().release}") or ""
    match = re.search(r"^CONFIG_HZ=(\d+)$", config, re.MULTILINE)
    return int(match[1]) if match else None


def _swap_bytes() -> int | None:
    match = re.search(r"^SwapTotal:\s+(\d+) kB", _text("/proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip() or None
    except OSError:
        return None


def _number(path: str) -> int | None:
    numbers = _numbers(path)
    return numbers[0] if numbers else None


def _numbers(path: str) -> list[int] | None:
    text = _text(path)
    return [int(word) for word in text.split()] if text else None
