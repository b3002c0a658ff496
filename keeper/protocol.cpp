// The messages' bytes: version, class, kind, id, then the fields in order.
#include "keeper/protocol.hpp"

#include "keeper/protocol_codec.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>

namespace rooster::keeper {
// Messages without fields.
template <class Archive, class Message>
  requires std::is_empty_v<Message>
void fields(Archive&, Message&) {}

template <class Archive>
void fields(Archive& a, Hello& m) {
  a(m.asks_namespaces);
}
template <class Archive>
void fields(Archive& a, Listen& m) {
  a(m.name, m.host, m.port, m.count, m.backlog);
}
template <class Archive>
void fields(Archive& a, Unlisten& m) {
  a(m.name, m.host, m.port);
}
template <class Archive>
void fields(Archive& a, MachineNetwork& m) {
  a(m.address, m.address_v4, m.hosts, m.resolvers);
}
template <class Archive>
void fields(Archive& a, Spawn& m) {
  a(m.machine, m.argv, m.env, m.cwd, m.uid, m.gid, m.user, m.cgroup, m.kill_signal, m.kill_timeout,
    m.wants_notify, m.fingerprint, m.network);
}
template <class Archive>
void fields(Archive& a, Signal& m) {
  a(m.machine, m.signal);
}
template <class Archive>
void fields(Archive& a, Kill& m) {
  a(m.machine);
}
template <class Archive>
void fields(Archive& a, Freeze& m) {
  a(m.machine);
}
template <class Archive>
void fields(Archive& a, Thaw& m) {
  a(m.machine);
}
template <class Archive>
void fields(Archive& a, List& m) {
  a(m.after);
}
template <class Archive>
void fields(Archive& a, Store& m) {
  a(m.name, m.descriptor);
}
template <class Archive>
void fields(Archive& a, Fetch& m) {
  a(m.name);
}
template <class Archive>
void fields(Archive& a, KeepMachines& m) {
  a(m.keep);
}
template <class Archive>
void fields(Archive& a, Hub& m) {
  a(m.tun_name, m.tun_device, m.tun_mtu, m.tun_offload, m.is_gateway, m.listeners, m.addresses,
    m.is_again);
}
template <class Archive>
void fields(Archive& a, Endpoint& m) {
  a(m.address, m.port);
}
template <class Archive>
void fields(Archive& a, Subnet& m) {
  a(m.address, m.bits);
}
template <class Archive>
void fields(Archive& a, Catch& m) {
  a(m.clear, m.add_addresses, m.remove_addresses, m.add_ports, m.remove_ports, m.add_pings,
    m.remove_pings, m.add_peers, m.remove_peers);
}
template <class Archive>
void fields(Archive& a, Sockets& m) {
  a(m.machine, m.family, m.is_datagram, m.is_transparent, m.count);
}
template <class Archive>
void fields(Archive& a, Exec& m) {
  a(m.machine, m.argv, m.env, m.cwd, m.uid, m.gid, m.user, m.wants_pty, m.rows, m.columns);
}
template <class Archive>
void fields(Archive& a, ExecSignal& m) {
  a(m.exec, m.signal);
}
template <class Archive>
void fields(Archive& a, Attach& m) {
  a(m.machine, m.address, m.address_v4, m.wants_notify, m.network);
}
template <class Archive>
void fields(Archive& a, Detach& m) {
  a(m.machine);
}
template <class Archive>
void fields(Archive& a, Owns& m) {
  a(m.machine, m.is_whole, m.inodes, m.pid);
}
template <class Archive>
void fields(Archive& a, Owned& m) {
  a(m.inodes, m.hidden_users, m.has_pid);
}
template <class Archive>
void fields(Archive& a, Failed& m) {
  a(m.error, m.text);
}
template <class Archive>
void fields(Archive& a, Welcome& m) {
  a(m.generation, m.keeper_pid, m.is_root, m.can_freeze, m.cgroup, m.no_private_network);
}
template <class Archive>
void fields(Archive& a, Listening& m) {
  a(m.port, m.sockets);
}
template <class Archive>
void fields(Archive& a, MachinePlace& m) {
  a(m.address, m.address_v4, m.diag);
}
template <class Archive>
void fields(Archive& a, Spawned& m) {
  a(m.pid, m.start_time, m.cgroup, m.user_applied, m.pidfd, m.output, m.notify, m.place);
}
template <class Archive>
void fields(Archive& a, SpawnFailed& m) {
  a(m.error, m.step, m.text);
}
template <class Archive>
void fields(Archive& a, Alive& m) {
  a(m.machine, m.fingerprint, m.process, m.is_frozen, m.output_tail);
}
template <class Archive>
void fields(Archive& a, Machines& m) {
  a(m.machines, m.has_more);
}
template <class Archive>
void fields(Archive& a, Fetched& m) {
  a(m.descriptor);
}
template <class Archive>
void fields(Archive& a, HubReady& m) {
  a(m.tun, m.no_tun, m.no_catch, m.listeners, m.dns_datagrams, m.dns_listener);
}
template <class Archive>
void fields(Archive& a, SocketsMade& m) {
  a(m.sockets);
}
template <class Archive>
void fields(Archive& a, Executed& m) {
  a(m.exec, m.pid, m.pidfd, m.input, m.output, m.errors, m.terminal);
}
template <class Archive>
void fields(Archive& a, Attached& m) {
  a(m.address_v4, m.network, m.diag, m.notify);
}
template <class Archive>
void fields(Archive& a, ExecExited& m) {
  a(m.exec, m.code, m.signal);
}
template <class Archive>
void fields(Archive& a, Exited& m) {
  a(m.machine, m.pid, m.code, m.signal, m.out_of_memory);
}

namespace {

enum class Class : std::uint8_t { Request = 1, Reply = 2, Event = 3 };

template <class Variant>
Packet encode_as(Class class_, std::uint64_t id, Variant& message) {
  Packet packet;
  Writer writer(packet);
  auto kind = static_cast<std::uint8_t>(message.index());
  auto class_byte = static_cast<std::uint8_t>(class_);
  std::uint8_t version = kProtocolVersion;
  writer(version, class_byte, kind, id);
  std::visit([&](auto& one) { fields(writer, one); }, message);
  return packet;
}

/// The variant whose alternative number `kind` is default-made; false if there is none.
template <class Variant, std::size_t Index = 0>
bool emplace_kind(Variant& message, std::size_t kind) {
  if constexpr (Index < std::variant_size_v<Variant>) {
    if (kind != Index) return emplace_kind<Variant, Index + 1>(message, kind);
    message.template emplace<Index>();
    return true;
  } else {
    return false;
  }
}

struct Head {
  std::uint8_t version = 0, class_ = 0, kind = 0;
  std::uint64_t id = 0;
};

template <class Variant>
bool read_body(Reader& reader, std::uint8_t kind, Variant& message) {
  if (!emplace_kind(message, kind)) return false;
  std::visit([&](auto& one) { fields(reader, one); }, message);
  return reader.is_complete();
}

bool is_within_bounds(const Packet& packet) {
  return packet.bytes.size() <= kMaxMessageBytes && packet.descriptors.size() <= kMaxDescriptors;
}

// What a C string can't carry must not reach execve, open or the log.
bool has_zero(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

bool is_name(const std::string& text) {
  return text.size() <= kMaxNameBytes && !has_zero(text);
}

bool are_acceptable(const std::vector<std::string>& argv, const std::vector<std::string>& env) {
  for (const auto* list : {&argv, &env})
    for (const std::string& text : *list)
      if (has_zero(text)) return false;
  return true;
}

bool is_acceptable(const Spawn& spawn) {
  if (!are_acceptable(spawn.argv, spawn.env)) return false;
  if (spawn.network && (spawn.network->hosts.size() > kMaxTextBytes ||
                        spawn.network->resolvers.size() > kMaxTextBytes))
    return false;
  return is_name(spawn.machine) && is_name(spawn.cgroup) && is_name(spawn.user) &&
         is_name(spawn.fingerprint) && !has_zero(spawn.cwd) && !spawn.machine.empty();
}
bool is_acceptable(const Listen& listen) {
  return is_name(listen.name) && is_name(listen.host) && listen.count >= 1 &&
         listen.count <= kMaxListeners;
}
bool is_acceptable(const Store& store) {
  return is_name(store.name) && static_cast<bool>(store.descriptor);
}
bool is_acceptable(const Hub& hub) {
  constexpr std::size_t kMaxInterfaceName = 15;  // IFNAMSIZ - 1
  return hub.tun_name.size() <= kMaxInterfaceName && !has_zero(hub.tun_name) &&
         hub.tun_name.find('/') == std::string::npos && !has_zero(hub.tun_device) &&
         hub.listeners <= kMaxListeners;
}
bool is_acceptable(const Catch& change) {
  const auto fits = [](const Subnet& one) { return one.bits <= 128; };
  return std::ranges::all_of(change.add_peers, fits) &&
         std::ranges::all_of(change.remove_peers, fits);
}
bool is_acceptable(const Sockets& sockets) {
  return is_name(sockets.machine) && sockets.count >= 1 && sockets.count <= kMaxSocketsPerReply;
}
bool is_acceptable(const Exec& exec) {
  return is_name(exec.machine) && is_name(exec.user) && !has_zero(exec.cwd) &&
         are_acceptable(exec.argv, exec.env);
}
template <class Message>
bool is_acceptable(const Message&) {
  return true;
}

}  // namespace

std::string_view to_string(SpawnStep step) {
  constexpr std::array<std::string_view, 12> kNames = {"prepare", "fork",  "namespaces", "mounts",
                                                       "session", "stdio", "cgroup",     "limits",
                                                       "user",    "chdir", "privileges", "exec"};
  return kNames.at(static_cast<std::size_t>(step));
}

Packet encode(NumberedRequest message) {
  return encode_as(Class::Request, message.id, message.request);
}
Packet encode(NumberedReply message) {
  return encode_as(Class::Reply, message.id, message.reply);
}
Packet encode(Event event) {
  return encode_as(Class::Event, 0, event);
}

std::optional<NumberedRequest> decode_request(Packet packet) {
  if (!is_within_bounds(packet)) return std::nullopt;
  Reader reader(packet);
  Head head;
  reader(head.version, head.class_, head.kind, head.id);
  if (head.version != kProtocolVersion || head.class_ != static_cast<std::uint8_t>(Class::Request))
    return std::nullopt;
  NumberedRequest message{.id = head.id, .request = {}};
  if (!read_body(reader, head.kind, message.request)) return std::nullopt;
  const bool fine = std::visit([](const auto& one) { return is_acceptable(one); }, message.request);
  if (!fine) return std::nullopt;
  return message;
}

std::optional<FromKeeper> decode_from_keeper(Packet packet) {
  if (!is_within_bounds(packet)) return std::nullopt;
  Reader reader(packet);
  Head head;
  reader(head.version, head.class_, head.kind, head.id);
  if (head.version != kProtocolVersion) return std::nullopt;
  if (head.class_ == static_cast<std::uint8_t>(Class::Reply)) {
    NumberedReply message{.id = head.id, .reply = {}};
    if (!read_body(reader, head.kind, message.reply)) return std::nullopt;
    return FromKeeper(std::move(message));
  }
  if (head.class_ != static_cast<std::uint8_t>(Class::Event)) return std::nullopt;
  Event event;
  if (!read_body(reader, head.kind, event)) return std::nullopt;
  return FromKeeper(std::move(event));
}

}  // namespace rooster::keeper
