// What server and keeper say to each other, as plain structs, and their bytes. Pure: no I/O
// (packet_channel.hpp has it). A message is one SEQPACKET datagram; its descriptors travel beside
// it. Every request gets exactly one reply.
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rooster::keeper {

using Descriptors = std::vector<Descriptor>;

inline constexpr std::uint8_t kProtocolVersion = 2;
inline constexpr std::size_t kMaxMessageBytes =
    2 * 1024 * 1024;                                 // argv + env, as Linux bounds them
inline constexpr std::size_t kMaxStrings = 8192;     // in one argv or env
inline constexpr std::size_t kMaxNameBytes = 255;    // machine ids, cgroup and stored names
inline constexpr std::size_t kMaxListeners = 64;     // of one address: one per worker
inline constexpr std::size_t kMaxDescriptors = 128;  // of one message; the kernel's bound is 253
inline constexpr std::size_t kMachinesPerReply = 5;  // with their tails still one datagram
inline constexpr std::size_t kOutputTailBytes = 4096;
inline constexpr std::size_t kMaxSocketsPerReply = 64;
inline constexpr std::size_t kMaxTextBytes = 16 * 1024;  // of a machine's hosts or resolv.conf

// ---- requests, server -> keeper ----

/// First message of a server. Reply: Welcome.
struct Hello {
  bool asks_namespaces = false;  ///< whether there can be any is tried then: some milliseconds
};

/// The server serves: from now on its death is a crash, not a failed start. Reply: Done.
struct Ready {};

/// `count` SO_REUSEPORT listeners. The keeper keeps them; the same (name, host, port) gives the
/// same sockets again, more of them if `count` has grown, never fewer. Reply: Listening or Failed.
struct Listen {
  std::string name;  ///< tells two addresses with port 0 apart, e.g. "https"
  std::string
      host;  ///< IPv4 or IPv6 literal; "" = every address, both families where there are both
  std::uint16_t port = 0;  ///< 0 = the kernel's choice, told in the reply
  std::uint16_t count = 1;
  std::uint16_t backlog = 4096;
};

/// The keeper closes its copies of these listeners: accept what is queued first. Reply: Done,
/// Failed ENOENT.
struct Unlisten {
  std::string name, host;
  std::uint16_t port = 0;  ///< as in Listen, not the kernel's choice
};

/// A machine's place in its private network. Its /48 is that of `address`.
struct MachineNetwork {
  IpAddress address{};      ///< its 6PN address
  IpAddress address_v4{};   ///< unset = the hub's choice of 172.19/16, told in the reply
  std::string hosts{};      ///< text of its /etc/hosts; "" = the node's own
  std::string resolvers{};  ///< text of its /etc/resolv.conf; "" = the node's own
};

/// Starts a machine. Reply: Spawned when the command was executed, else SpawnFailed.
struct Spawn {
  std::string machine;               ///< its id; at most one alive of each
  std::vector<std::string> argv;     ///< argv[0] is looked up in PATH of `env`, unless it has a '/'
  std::vector<std::string> env;      ///< "KEY=value"; nothing else is inherited
  std::string cwd;                   ///< "" = "/"
  std::optional<std::uint32_t> uid;  ///< wins over `user`
  std::optional<std::uint32_t> gid;  ///< default: the user's own, or the same number as `uid`
  std::string user;  ///< "" = the keeper's own; a name or a number. Needs root, else it is skipped
                     ///< and told.
  std::string cgroup;            ///< a name below the keeper's cgroup; "" = the machine's id
  std::uint8_t kill_signal = 2;  ///< used when the keeper itself stops the machine; SIGINT as Fly
  std::chrono::milliseconds kill_timeout{5000};
  bool wants_notify = false;  ///< adds NOTIFY_SOCKET to `env` and passes the socket's other side
  std::string fingerprint;  ///< kept and listed: says to a successor which configuration runs here
  /// Given: in namespaces of its own (network, mounts, processes), which needs the hub. Unset: in
  /// the node's.
  std::optional<MachineNetwork> network{};
};

/// `signal` to the machine's process group. Reply: Done, or Failed ESRCH (not alive).
struct Signal {
  std::string machine;
  std::uint8_t signal = 0;
};

/// SIGKILL to everything of the machine, daemons that left its group included. Reply: Done; Exited
/// follows.
struct Kill {
  std::string machine;
};

/// Stops (Thaw: resumes) every process of the machine. Reply: Done once all are frozen; Failed
/// EOPNOTSUPP where there is no writable cgroup2.
struct Freeze {
  std::string machine;
};
struct Thaw {
  std::string machine;
};

/// The machines alive, in order of their ids, from the one after `after`. Reply: Machines.
struct List {
  std::string after;
};

/// Keeps a descriptor under a name for successors (ticket keys); replaces an older one. Reply:
/// Done.
struct Store {
  std::string name;
  Descriptor descriptor;
};

/// Reply: Fetched, or Failed ENOENT.
struct Fetch {
  std::string name;
};

/// What follows when this server exits with 0: true = machines stay and a successor is started
/// (restart, upgrade); false, the default = machines are stopped and the keeper exits, as it always
/// does after a SIGTERM of its own. Reply: Done.
struct KeepMachines {
  bool keep = false;
};

// ---- requests for the private network: to the keeper, or to a hub process of one's own

/// Makes the hub, once; a successor gets the same one, with more listeners if `listeners` has
/// grown. Reply: HubReady, or Failed with a sentence that says what forbids it.
struct Hub {
  std::string tun_name = "rooster0";        ///< "" = no TUN device
  std::string tun_device = "/dev/net/tun";  ///< the node to open
  std::uint16_t tun_mtu = 1280;
  bool tun_offload = false;  ///< IFF_VNET_HDR: a virtio_net_hdr before each packet
  /// True: every address of fdaa::/16 is answered here, and Catch says which. False (a client): the
  /// hub has `addresses`, and fdaa::/16 lies behind the TUN device.
  bool is_gateway = true;
  std::uint16_t listeners = 0;         ///< transparent TCP listeners, one per worker
  std::vector<IpAddress> addresses{};  ///< of a client
  /// Keeper -> hub: it stands already; make `listeners` more.
  bool is_again = false;
};

/// A range of addresses.
struct Subnet {
  IpAddress address{};
  std::uint8_t bits = 128;
};

/// Changes which private destinations reach the listeners; everything else is refused. First what
/// goes, then what comes; an entry that is there, or not there, already is passed over. Reply: Done
/// or Failed.
struct Catch {
  bool clear = false;                    ///< begins anew
  std::vector<IpAddress> add_addresses;  ///< TCP to every port of them; they answer pings
  std::vector<IpAddress> remove_addresses;
  std::vector<Endpoint> add_ports;  ///< TCP to this port of that address
  std::vector<Endpoint> remove_ports;
  std::vector<IpAddress> add_pings;  ///< answer pings (those of `ports`)
  std::vector<IpAddress> remove_pings;
  std::vector<Subnet> add_peers;  ///< lie behind the TUN device
  std::vector<Subnet> remove_peers;
};

/// Sockets made in a namespace. Reply: SocketsMade or Failed (ESRCH: no such machine).
struct Sockets {
  std::string machine{};        ///< "" = the hub's
  std::uint16_t family = 10;    ///< AF_INET6 or AF_INET
  bool is_datagram = false;     ///< else TCP
  bool is_transparent = false;  ///< may bind any address: a client's own as source. Hub only.
  std::uint16_t count = 1;      ///< at most kMaxSocketsPerReply
};

/// Runs a command in a machine: its namespaces, its cgroup, no new privileges, a session of its
/// own. Reply: Executed, SpawnFailed, or Failed (ESRCH: not alive, EBUSY: suspended).
struct Exec {
  std::string machine{};
  std::vector<std::string> argv{};  ///< as in Spawn
  std::vector<std::string> env{};   ///< all of it; nothing is inherited
  std::string cwd{};
  std::optional<std::uint32_t> uid{};
  std::optional<std::uint32_t> gid{};
  std::string user{};  ///< "" and no uid = the machine's
  bool wants_pty = false;
  std::uint16_t rows = 24, columns = 80;
};

/// `signal` to the process group of an Exec. Reply: Done, or Failed ESRCH (it has ended).
struct ExecSignal {
  std::uint64_t exec = 0;
  std::uint8_t signal = 0;
};

/// Keeper -> hub: a network namespace for a machine. Reply: Attached or Failed.
struct Attach {
  std::string machine{};
  IpAddress address{}, address_v4{};
  bool wants_notify = false;
  Descriptor network{};  ///< set: it exists, made by a hub process that died; only to be known
};

/// Keeper -> hub: that machine has ended. Reply: Done.
struct Detach {
  std::string machine{};
};

/// Which of a machine's processes hold these sockets: the sandboxed server can't see. Reply: Owned,
/// or Failed ESRCH.
struct Owns {
  std::string machine{};
  bool is_whole = false;  ///< all its processes, not the first alone: maybe milliseconds
  std::vector<std::uint64_t> inodes{};  ///< of listening sockets
  std::int32_t pid = 0;                 ///< is it one of the machine's processes? 0: not asked
};

using Request =
    std::variant<Hello, Ready, Listen, Unlisten, Spawn, Signal, Kill, Freeze, Thaw, List, Store,
                 Fetch, KeepMachines, Hub, Catch, Sockets, Exec, ExecSignal, Attach, Detach, Owns>;

// ---- replies, keeper -> server ----

struct Done {};

/// Any request that could not be done.
struct Failed {
  std::int32_t error =
      0;  ///< errno; EPIPE = the keeper is gone, EAGAIN = too many requests pending
  std::string text;
};

struct Welcome {
  std::uint32_t generation =
      1;  ///< 1 = the keeper's first server; more = a successor: List and adopt
  std::int32_t keeper_pid = 0;
  bool is_root = false;
  bool can_freeze = false;  ///< also: machines have cgroups
  std::string cgroup;       ///< the keeper's directory of machine cgroups; "" = none
  /// If asked: "" = machines can have namespaces of their own; else the sentence that says why not.
  /// Hub fails with the same sentence.
  std::string no_private_network{};
};

struct Listening {
  std::uint16_t port = 0;
  Descriptors sockets;  ///< `count` of them, or more: accept from all
};

/// Where a machine with a private network lies.
struct MachinePlace {
  IpAddress address{}, address_v4{};
  Descriptor diag{};  ///< NETLINK_SOCK_DIAG socket of its network namespace: who listens in there
};

struct Spawned {
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;  ///< /proc/<pid>/stat field 22
  std::string cgroup;            ///< absolute directory; "" = none
  bool user_applied = true;      ///< false: another user was asked for, but the keeper isn't root
  Descriptor pidfd;
  Descriptor output;  ///< stdout and stderr, non-blocking
  Descriptor notify;  ///< datagram socket with SO_PASSCRED, if wanted: check the sender's cgroup
  std::optional<MachinePlace> place{};  ///< set where Spawn.network was
};

enum class SpawnStep : std::uint8_t {
  Prepare,
  Fork,
  Namespaces,
  Mounts,
  Session,
  Stdio,
  Cgroup,
  Limits,
  User,
  Directory,
  Privileges,
  Exec
};
std::string_view to_string(SpawnStep step);

struct SpawnFailed {
  std::int32_t error = 0;
  SpawnStep step = SpawnStep::Exec;
  std::string text;  ///< for a person: "exec /srv/app: No such file or directory"
};

/// One machine that is alive.
struct Alive {
  std::string machine;
  std::string fingerprint;
  Spawned process;
  bool is_frozen = false;
  std::string output_tail;  ///< what it wrote while no server read, at most kOutputTailBytes of it
};

struct Machines {
  std::vector<Alive> machines;  ///< at most kMachinesPerReply
  bool has_more = false;        ///< ask again with the last one's id
};

struct Fetched {
  Descriptor descriptor;
};

struct HubReady {
  Descriptor tun{};         ///< non-blocking; unset where there is none
  std::string no_tun{};     ///< why there is none, though one was asked for
  std::string no_catch{};   ///< "" = Catch works; else why not (no nft TPROXY)
  Descriptors listeners{};  ///< dual-stack: IPv4 arrives mapped; getsockname() = where it was sent
  Descriptor dns_datagrams{};  ///< [::]:53, with IPV6_RECVPKTINFO; answers from any address
  Descriptor dns_listener{};   ///< TCP [::]:53
};

struct SocketsMade {
  Descriptors sockets{};  ///< non-blocking, as many as were asked for
};

struct Executed {
  std::uint64_t exec = 0;  ///< its number in ExecSignal and ExecExited
  std::int32_t pid = 0;
  Descriptor pidfd{};
  Descriptor input{}, output{}, errors{};  ///< non-blocking pipe ends, without a pty
  Descriptor terminal{};                   ///< the pty's master, non-blocking
};

struct Attached {
  IpAddress address_v4{};
  Descriptor network{};  ///< the network namespace
  Descriptor diag{};
  Descriptor notify{};  ///< bound to an abstract name in that namespace, if wanted
};

struct Owned {
  std::vector<std::uint64_t> inodes{};        ///< those of the question that are its own
  std::vector<std::uint32_t> hidden_users{};  ///< as in OwnSockets
  bool has_pid = false;
};

using Reply = std::variant<Done, Failed, Welcome, Listening, Spawned, SpawnFailed, Machines,
                           Fetched, HubReady, SocketsMade, Executed, Attached, Owned>;

// ---- events, keeper -> server ----

/// A machine's process has exited, and what it left behind is killed.
struct Exited {
  std::string machine;
  std::int32_t pid = 0;
  std::int32_t code = 0;    ///< exit status, if signal == 0
  std::int32_t signal = 0;  ///< what killed it
  bool out_of_memory = false;
};

/// The process of an Exec has ended.
struct ExecExited {
  std::uint64_t exec = 0;
  std::int32_t code = 0;    ///< exit status, if signal == 0
  std::int32_t signal = 0;  ///< what killed it
};

using Event = std::variant<Exited, ExecExited>;

// ---- bytes ----

/// A message as it travels.
struct Packet {
  std::string bytes;
  Descriptors descriptors;
};

struct NumberedRequest {
  std::uint64_t id = 0;
  Request request;
};
struct NumberedReply {
  std::uint64_t id = 0;
  Reply reply;
};
using FromKeeper = std::variant<NumberedReply, Event>;

/// The message's descriptors move into the packet.
Packet encode(NumberedRequest message);
Packet encode(NumberedReply message);
Packet encode(Event event);

/// Empty if the bytes or the number of descriptors are not exactly one message of this version
/// within its bounds.
std::optional<NumberedRequest> decode_request(Packet packet);
std::optional<FromKeeper> decode_from_keeper(Packet packet);

}  // namespace rooster::keeper
