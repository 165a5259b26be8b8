"""Programs that try to get out: each defines attack(host), true exactly when it reached something.

`host` is what an attacker might know of the machine (see `Host` in test_sandbox_attacks.py). The
same source runs without the sandbox, where it must succeed, and inside, where it must not.
"""

from dataclasses import dataclass

__all__ = ["ATTACKS", "Attack"]


@dataclass(frozen=True)
class Attack:
    """`root`: even without the sandbox only root can do it; for others there is no control."""

    name: str
    source: str
    root: bool = False


NUMBERS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
column = 0 if os.uname().machine == "x86_64" else 1
def reached(numbers, *arguments):
    # Whether the kernel looked at the arguments: nothing refused the call before that.
    result = libc.syscall(numbers[column], *arguments)
    return result >= 0 or ctypes.get_errno() not in (1, 38)
"""

READS = {
    "read_passwd": "return open('/etc/passwd').read()",
    "read_secret": "return open(host['secret']).read()",
    "read_repository": "return open(host['repository'] + '/pyproject.toml').read()",
    "list_site_packages": "return os.listdir(host['site_packages'])",
    "list_home": "return sorted(os.listdir(host['home'])) == host['in_home']",
    "list_tmp": "return os.path.basename(host['folder']) in os.listdir(host['tmp'])",
    "read_up_and_down": "return open('../' * 30 + host['secret'].lstrip('/')).read()",
    "read_by_symlink": "os.symlink(host['secret'], 'a'); return open('a').read()",
    "read_by_symlink_chain": (
        "os.symlink('/', 'a'); os.symlink('a' + os.path.dirname(host['secret']), 'b')\n"
        "    return open('b/' + os.path.basename(host['secret'])).read()"
    ),
    "read_by_hard_link": "os.link(host['secret'], 'a'); return open('a').read()",
    "read_by_libc": (
        "import ctypes\n"
        "    libc = ctypes.CDLL(None); found = libc.open(host['secret'].encode(), 0)\n"
        "    return found >= 0 and os.read(found, 9)"
    ),
    "read_by_directory": (
        "folder = os.open(host['folder'], os.O_RDONLY)\n"
        "    return os.open('secret', os.O_RDONLY, dir_fd=folder)"
    ),
    "read_inherited_descriptor": (
        "for number in range(3, 1024):\n"
        "        try:\n"
        "            if b'the secret' in os.pread(number, 99, 0): return True\n"
        "        except OSError: pass"
    ),
    "read_environment": "return os.environ.get('SECRET')",
    "read_environment_of_libc": (
        "import ctypes\n    libc = ctypes.CDLL(None); libc.getenv.restype = ctypes.c_char_p\n"
        "    return libc.getenv(b'SECRET')"
    ),
    "read_own_environ_file": "return b'SECRET' in open('/proc/self/environ', 'rb').read()",
    "read_maps_of_parent": "return open(f\"/proc/{host['pid']}/maps\").read()",
    "read_environ_of_parent": "return open(f\"/proc/{host['pid']}/environ\", 'rb').read()",
    "list_descriptors_of_parent": "return os.listdir(f\"/proc/{host['pid']}/fd\")",
    "read_command_of_parent": "return open(f\"/proc/{host['pid']}/cmdline\").read()",
    "leave_by_root_of_parent": "return os.listdir(f\"/proc/{host['pid']}/root/etc\")",
    "leave_by_cwd_of_parent": "return os.listdir(f\"/proc/{host['pid']}/cwd/\")",
    "list_processes": "return str(host['pid']) in os.listdir('/proc')",
    "read_kernel_settings": "return open('/proc/sys/kernel/osrelease').read()",
    "list_sys": "return os.listdir('/sys')",
    "list_devices": "return 'null' in os.listdir('/dev') and len(os.listdir('/dev')) > 5",
}
READS_AS_ROOT = {
    "read_shadow": "return open('/etc/shadow').read()",
    "read_memory_of_parent": "return open(f\"/proc/{host['pid']}/mem\", 'rb')",
}
WRITES = {
    "write_outside": "return open(host['folder'] + '/new', 'w').write('x')",
    "append_to_victim": "return open(host['victim'], 'a').write('x')",
    "truncate_victim": "os.truncate(host['victim'], 0); return True",
    "remove_victim": "os.unlink(host['victim']); return True",
    "rename_victim": "os.rename(host['victim'], host['victim'] + 'x'); return True",
    "change_mode_of_victim": "os.chmod(host['victim'], 0o777); return True",
    "write_by_symlink": (
        "os.symlink(host['folder'] + '/new', 'a'); return open('a', 'w').write('x')"
    ),
    "write_tmp": "return open(host['tmp'] + '/' + host['mark'], 'w').write('x')",
    "write_shared_memory": "return open('/dev/shm/' + host['mark'], 'w').write('x')",
    "lock_victim": (
        "import fcntl\n    fcntl.flock(open(host['victim']), fcntl.LOCK_EX); return True"
    ),
}
WRITES_AS_ROOT = {
    "write_standard_library": "return os.access(os.path.dirname(os.__file__), os.W_OK)",
    "make_disk_device": "os.mknod('d', 0o060600, os.makedev(254, 0)); return True",
    "give_file_away": "open('x', 'w'); os.chown('x', 0, 12); return os.stat('x').st_gid == 12",
    "set_time_of_victim": "os.utime(host['victim'], (1, 1)); return True",
    "become_root": "os.setuid(0); return os.getuid() == 0",
    "leave_by_chroot": "os.chroot('.'); return True",
}
NETWORK = {
    "tcp_to_loopback": "return socket.create_connection(('127.0.0.1', host['port']), 2)",
    "udp_to_loopback": (
        "s = socket.socket(type=socket.SOCK_DGRAM); return s.sendto(b'x', ('127.0.0.1', 9))"
    ),
    "tcp_version_6": "return socket.socket(socket.AF_INET6)",
    "listen": "return socket.create_server(('127.0.0.1', 0))",
    "unix_socket": "s = socket.socket(1); s.connect(host['unix']); return True",
    "abstract_socket": "s = socket.socket(1); s.connect('\\0' + host['mark']); return True",
    "reconnect_a_pair": (
        "a, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
        "    a.connect('\\0d' + host['mark']); return True"
    ),
    "netlink_socket": "return socket.socket(16, socket.SOCK_RAW)",
    "resolve_a_name": "return socket.getaddrinfo('localhost', 80, family=socket.AF_INET)",
}
NETWORK_AS_ROOT = {
    "raw_socket": "return socket.socket(2, socket.SOCK_RAW, 1)",
    "packet_socket": "return socket.socket(17, socket.SOCK_RAW)",
}
PROCESSES = {
    "signal_parent": "os.kill(host['pid'], 0); return True",
    "signal_everybody": "os.kill(-1, 0); return True",
    "signal_group_of_parent": "os.killpg(os.getpgid(host['pid']), 0); return True",
    "change_limit_of_parent": (
        "import resource\n    return resource.prlimit(host['pid'], resource.RLIMIT_NOFILE)"
    ),
    "change_priority_of_parent": "return os.getpriority(os.PRIO_PROCESS, host['pid']) is not None",
    "affinity_of_parent": "return os.sched_getaffinity(host['pid'])",
    "descriptor_of_parent": "return os.pidfd_open(host['pid'])",
    "signal_by_descriptor_owner": (
        "import fcntl\n    a, b = os.pipe(); fcntl.fcntl(a, fcntl.F_SETOWN, host['pid'])\n"
        "    return True"
    ),
    "exec_shell": "os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {}); return True",
    "exec_python": (
        "import subprocess\n    return subprocess.run([host['python'], '-c', '']).returncode == 0"
    ),
    "exec_own_script": (
        "import subprocess\n    open('a', 'w').write('#!/bin/sh\\n'); os.chmod('a', 0o755)\n"
        "    return subprocess.run(['./a']).returncode == 0"
    ),
    "exec_set_uid_program": (
        "import subprocess\n    return subprocess.run(['/bin/su', '--help'], stdout=-3) is not None"
    ),
    "exec_loader": (
        "import glob, subprocess\n"
        "    loader = glob.glob('/lib64/ld-linux*') + glob.glob('/lib/ld-linux*')\n"
        "    return subprocess.run([loader[0], '--version'], stdout=-3).returncode == 0"
    ),
    "exec_memory_file": (
        "import shutil\n    file = os.memfd_create('x')\n"
        "    os.write(file, open('/bin/true', 'rb').read())\n"
        "    pid = os.fork()\n    if not pid: os.execve(file, ['true'], {})\n"
        "    return os.waitpid(pid, 0)[1] == 0"
    ),
    "raise_own_limit": (
        "import resource\n    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, most)); return True"
    ),
    "new_session": "if not os.fork(): os.setsid(); os._exit(7)\n    return os.wait()[1] == 7 << 8",
}
LIMITS = {
    "fork_40": (
        "end, keep = os.pipe()\n    for _ in range(40):\n"
        "        if not os.fork(): os.close(keep); os._exit(len(os.read(end, 1)))\n    return True"
    ),
    "threads_40": (
        "import threading\n    stop = threading.Event()\n    for _ in range(40):\n"
        "        threading.Thread(target=stop.wait, args=(5,), daemon=True).start()\n"
        "    return True"
    ),
    "memory_of_lists": "return [0] * (90 << 20)",
    "memory_of_bytes": "return bytearray(900 << 20)",
    "memory_by_mmap": "import mmap\n    return mmap.mmap(-1, 900 << 20)",
    "memory_in_forks": "if not os.fork(): os._exit(len(bytearray(900 << 20)) >> 28)\n"
    "    return os.wait()[1]",
    "one_big_file": "return open('a', 'wb').write(bytes(24 << 20))",
    "many_files": "for i in range(10): open(str(i), 'wb').write(bytes(4 << 20))\n    return True",
    "many_inodes": "for i in range(6000): open(str(i), 'wb').close()\n    return True",
    "sparse_file": "open('a', 'w'); os.truncate('a', 1 << 33); return True",
    "allocate_file": "f = open('a', 'w'); os.posix_fallocate(f.fileno(), 0, 24 << 20); return True",
    "memory_file": "file = os.memfd_create('x'); os.ftruncate(file, 1 << 33); return True",
    "descriptors_100": "return [os.dup(0) for _ in range(100)]",
    "pipes_100": "return [os.pipe() for _ in range(100)]",
    "core_dump": "import resource\n    return resource.getrlimit(resource.RLIMIT_CORE)[1]",
}
CALLS = {
    "new_user_namespace": "return reached((272, 97), 0x10000000)",
    "keyring": "return reached((250, 219), 0, -3, 0)",
    "add_key": "return reached((248, 217), None, None, None, 0, 0)",
    "io_uring": "return reached((425, 425), 1, None)",
    "trace_parent": "return reached((101, 117), 0x4206, -1, 0, 0)",
    "trace_me": "return reached((101, 117), 0, 0, 0, 0)",
    "read_memory_across": "return reached((310, 270), os.getpid(), None, 0, None, 0, 0)",
    "write_memory_across": "return reached((311, 271), os.getpid(), None, 0, None, 0, 0)",
    "steal_descriptor": "return reached((438, 438), -1, 0, 0)",
    "change_personality": "return reached((135, 92), 0xffffffff)",
    "system_v_memory": "return reached((29, 194), 0, 0, 0)",
    "message_queue": "return reached((240, 180), None, 0, 0, None)",
    "enter_namespace": "return reached((308, 268), -1, 0)",
    "clone_into_namespace": (
        "pid = libc.syscall((56, 220)[column], 0x10000000 | 17, 0, 0, 0, 0)\n"
        "    if pid == 0: os._exit(0)\n    return pid > 0"
    ),
    "clone_by_new_call": "return reached((435, 435), None, 0)",
}
CALLS_AS_ROOT = {
    "mount": "return reached((165, 40), None, None, None, 0, None)",
    "mount_by_new_call": "return reached((430, 430), None, 0)",
    "copy_mount_tree": "return reached((428, 428), -100, b'/', 1)",
    "unmount_root": "return reached((166, 39), b'/no/such/path', 0)",
    "bpf": "return reached((321, 280), 999, None, 0)",
    "user_faults": "return reached((282, 282) if column else (323, 282), 0xffff)",
    "performance_events": "return reached((298, 241), None, 0, -1, -1, 0)",
    "open_by_handle": "return reached((304, 265), -1, None, 0)",
    "watch_all_files": "return reached((300, 262), 0xffffffff, 0)",
    "kernel_log": "return reached((103, 116), 10, None, 0)",
    "host_name": "return reached((170, 161), None, -1)",
}


def _attacks() -> list[Attack]:
    found = []
    for imports, families, root in (
        ("import os, socket", (READS, WRITES, NETWORK, PROCESSES, LIMITS), False),
        ("import os, socket", (READS_AS_ROOT, WRITES_AS_ROOT, NETWORK_AS_ROOT), True),
        (NUMBERS, (CALLS,), False),
        (NUMBERS, (CALLS_AS_ROOT,), True),
    ):
        for family in families:
            for name, body in family.items():
                found.append(Attack(name, f"{imports}\ndef attack(host):\n    {body}\n", root))
    return found


ATTACKS = _attacks()
