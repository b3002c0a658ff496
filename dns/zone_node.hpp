// ZoneNode: what a name of the private zones stands for, before anyone asks for a type.
#pragma once

#include "core/address.hpp"
#include "core/ids.hpp"
#include "dns/directory.hpp"
#include "dns/name.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rooster::dns {

enum class PrivateZone : std::uint8_t { None, Internal, Flycast, Reverse };

/// The zone a name lies in. `labels` also gives where the zone's own name begins in it:
/// labels.offset(labels.size() - zone_labels(zone)).
PrivateZone zone_of(const Labels& labels);
std::size_t zone_labels(PrivateZone zone);

/// Which machines of an app a name means.
struct MachineChoice {
  enum class By : std::uint8_t { All, Region, Group, Id, Metadata, MetadataKey };
  By by = By::All;
  std::string_view value{};  ///< region, group, id or metadata value
  std::string_view key{};    ///< of the metadata
  std::size_t nearest = 0;   ///< only this many, the closest; 0: all

  /// Of those that have a name at all (skip_registration).
  bool matches(const MachineRecord& machine) const;
};

enum class TextList : std::uint8_t {
  Vms,
  AllVms,
  Regions,
  AllRegions,
  Apps,
  Peers,
  Instances,
  AllInstances,
};

struct ZoneNode {
  enum class Has : std::uint8_t {
    Nothing,    ///< the name does not exist
    NoRecords,  ///< it exists, or lies above one that does
    Apex,
    Machines,  ///< `app`, `choice`
    Address,   ///< `address`
    Text,      ///< `list`, of `app` where it is an app's
    Pointer,   ///< `owner`, or the network's own resolver where nobody is set
  };
  Has has = Has::Nothing;
  const AppRecord* app = nullptr;
  MachineChoice choice{};
  IpAddress address{};
  TextList list{};
  AddressOwner owner{};
};

/// Views in the node lie in the name and in the zone.
ZoneNode find_node(const Zone& zone, NetworkId network, PrivateZone which, const Labels& labels);

/// "interactive-…": made by the client commands, named in no answer.
bool is_hidden_peer(std::string_view name);

}  // namespace rooster::dns
