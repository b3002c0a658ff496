#include "cluster/address_book.hpp"

#include <openssl/sha.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/random.h>

namespace rooster::cluster {
namespace {

using namespace std::chrono_literals;

// A late packet of the one who had it must not count for the next.
constexpr auto kIndexRests = 24h;

// The first 32 bits of SHA-256 of the machine's id, and of the hash again on a collision.
class MachineParts {
 public:
  explicit MachineParts(std::string_view id) { hash(id.data(), id.size()); }
  std::uint32_t value() const {
    return static_cast<std::uint32_t>(digest_[0]) << 24U |
           static_cast<std::uint32_t>(digest_[1]) << 16U |
           static_cast<std::uint32_t>(digest_[2]) << 8U | digest_[3];
  }
  void next() {
    const auto before = digest_;
    hash(before.data(), before.size());
  }

 private:
  void hash(const void* bytes, std::size_t size) {
    SHA256(static_cast<const unsigned char*>(bytes), size, digest_.data());
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest_{};
};

}  // namespace

void kernel_random(std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
    // Without randomness no key may be made: there is nothing to go on with.
    if (got < 0 && errno != EINTR) std::abort();
    if (got > 0) bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

AddressBook::AddressBook(Options options, Random random, Emit emit)
    : options_(options), random_(std::move(random)), emit_(std::move(emit)) {}

void AddressBook::restore(const Row& row) {
  if (const auto* network = std::get_if<NetworkRow>(&row)) {
    add_network(network->network, network->next_peer);
  } else if (const auto* machine = std::get_if<MachineRow>(&row)) {
    machines_[machine->machine] = machine->part;
    machine_parts_.insert(machine->part);
  } else if (const auto* flycast = std::get_if<FlycastRow>(&row)) {
    NetworkState& state = state_of(flycast->network);
    state.flycast[name_key(flycast->app)] = flycast->n;
    state.next_flycast = std::max(state.next_flycast, flycast->n + 1);
  } else if (const auto* peer = std::get_if<Peer>(&row)) {
    state_of(peer->network).taken.insert(peer->index);
  }
}

void AddressBook::add_network(Network network, std::uint32_t next_peer) {
  by_name_[name_key(network.name)] = network.id;
  NetworkState& state = networks_[network.id];
  state.network = std::move(network);
  state.next_peer = next_peer;
}

AddressBook::NetworkState& AddressBook::state_of(NetworkId id) {
  return networks_[id];
}

NetworkId AddressBook::network(std::string_view name) {
  if (const auto known = find_network(name)) return *known;
  NetworkId id{};
  // 0 is the nodes' own.
  while (id.value == 0 || networks_.contains(id)) {
    std::array<std::uint8_t, 4> bytes{};
    random_(bytes);
    std::memcpy(&id.value, bytes.data(), bytes.size());
  }
  Network network{.id = id, .name = std::string(name)};
  add_network(network, 0);
  emit_(NetworkRow{.network = std::move(network), .next_peer = 0});
  return id;
}

std::optional<NetworkId> AddressBook::find_network(std::string_view name) const {
  const auto found = by_name_.find(name_key(name));
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

std::string_view AddressBook::name_of(NetworkId network) const {
  const auto found = networks_.find(network);
  return found == networks_.end() ? std::string_view() : found->second.network.name;
}

std::vector<Network> AddressBook::networks() const {
  std::vector<Network> list;
  for (const auto& [key, id] : by_name_) list.push_back(networks_.at(id).network);
  return list;
}

IpAddress AddressBook::machine(NetworkId network, const MachineId& machine) {
  const auto known = machines_.find(machine);
  if (known != machines_.end()) return machine_address(network, options_.host, known->second);
  MachineParts parts(machine.value);
  while (!machine_parts_.insert(parts.value()).second) parts.next();
  machines_.emplace(machine, parts.value());
  emit_(MachineRow{.machine = machine, .part = parts.value()});
  return machine_address(network, options_.host, parts.value());
}

IpAddress AddressBook::flycast(NetworkId network, std::string_view app) {
  NetworkState& state = state_of(network);
  const auto [place, is_new] = state.flycast.try_emplace(name_key(app), state.next_flycast);
  if (is_new) {
    ++state.next_flycast;
    emit_(FlycastRow{.network = network, .app = std::string(app), .n = place->second});
  }
  return flycast_address(network, place->second);
}

Result<std::uint32_t> AddressBook::take_peer(NetworkId network, WallTime now) {
  NetworkState& state = state_of(network);
  while (!state.resting.empty() && state.resting.front().until <= now) {
    state.taken.erase(state.resting.front().index);
    state.resting.pop_front();
  }
  if (state.taken.size() >= options_.peer_indices) {
    return fail(Fault::Internal, "every peer address of this network is taken");
  }
  // Round and round, so that even over a restart none comes back soon.
  std::uint32_t index = state.next_peer % options_.peer_indices;
  while (!state.taken.insert(index).second) index = (index + 1) % options_.peer_indices;
  state.next_peer = index + 1;
  emit_(NetworkRow{.network = state.network, .next_peer = state.next_peer});
  return index;
}

void AddressBook::free_peer(NetworkId network, std::uint32_t index, WallTime now) {
  state_of(network).resting.push_back({.index = index, .until = now + kIndexRests});
}

}  // namespace rooster::cluster
