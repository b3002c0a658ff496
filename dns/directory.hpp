// Directory: all that .internal, .flycast and the reverse zone are answered from. Filled app by app
// and peer by peer by whoever knows them; belongs to the thread that answers.
#pragma once

#include "core/address.hpp"
#include "core/ids.hpp"

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rooster::dns {

enum class MachineState : std::uint8_t { Started, Stopped, Suspended, Other };

struct MachineRecord {
  std::string id{};
  std::string region{};
  std::string group{};  ///< process group
  MachineState state = MachineState::Stopped;
  IpAddress address{};             ///< its own private address; unset: in no AAAA answer
  bool wakeable = false;           ///< not started, but a connection to it would start it
  bool skip_registration = false;  ///< in no answer at all
  std::vector<std::pair<std::string, std::string>> metadata{};
};

struct AppRecord {
  std::string name{};
  IpAddress flycast{};  ///< unset: <app>.flycast does not exist
  /// Where nothing of what a name means is started, its AAAA lists what a connection would wake.
  /// False: Fly's answer, nothing.
  bool internal_wake = true;
  std::vector<MachineRecord> machines{};
};

struct PeerRecord {
  std::string name{};  ///< "interactive-…" is in no answer
  IpAddress address{};
};

/// Lower case by ASCII alone, as DNS compares (RFC 4343).
constexpr char fold(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool equal_folded(std::string_view a, std::string_view b);

struct FoldedHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept;
};
struct FoldedEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const noexcept {
    return equal_folded(a, b);
  }
};
struct FoldedLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const noexcept;
};
struct AddressHash {
  std::size_t operator()(const IpAddress& address) const noexcept {
    std::uint64_t halves[2];
    std::memcpy(halves, address.bytes().data(), sizeof halves);
    return static_cast<std::size_t>((halves[0] * 0x9E3779B97F4A7C15u) ^
                                    ((halves[1] + 0x7F4A7C15u) * 0xC2B2AE3D27D4EB4Fu));
  }
};

/// Whose a private address is: at most one is set.
struct AddressOwner {
  const AppRecord* app = nullptr;          ///< with `machine` null: the app's flycast address
  const MachineRecord* machine = nullptr;  ///< one of `app`
  const PeerRecord* peer = nullptr;
};

/// One private network's part. Names are found whatever their case.
class Zone {
 public:
  const AppRecord* app(std::string_view name) const;
  const PeerRecord* peer(std::string_view name) const;
  const AddressOwner* owner(const IpAddress& address) const;
  using Apps = std::map<std::string_view, std::unique_ptr<const AppRecord>, FoldedLess>;
  using Peers = std::map<std::string_view, std::unique_ptr<const PeerRecord>, FoldedLess>;
  const Apps& apps() const { return apps_; }     ///< by name
  const Peers& peers() const { return peers_; }  ///< by name

 private:
  friend class Directory;
  void put(AppRecord record);
  void put(PeerRecord record);
  void remove_app(std::string_view name);
  void remove_peer(std::string_view name);
  void forget(const IpAddress& address, const void* holder);
  void forget(const AppRecord& record);

  Apps apps_;    // keys lie in the records
  Peers peers_;  // likewise
  std::unordered_map<std::string_view, const AppRecord*, FoldedHash, FoldedEqual> app_by_name_;
  std::unordered_map<IpAddress, AddressOwner, AddressHash> owners_;
};

class Directory {
 public:
  /// Adds the app to its network, or replaces what was known of it. An app that changes networks is
  /// removed from the old one by the caller.
  void put_app(NetworkId network, AppRecord record);
  void remove_app(NetworkId network, std::string_view name);
  void put_peer(NetworkId network, PeerRecord record);
  void remove_peer(NetworkId network, std::string_view name);

  /// An empty zone where the network has nothing. Valid until the next change.
  const Zone& zone(NetworkId network) const;
  /// Grows with every change: the zones' SOA serial.
  std::uint32_t serial() const { return serial_; }

 private:
  std::unordered_map<NetworkId, Zone> zones_;
  Zone nothing_;
  std::uint32_t serial_ = 1;
};

}  // namespace rooster::dns
