#include "dns/zone_node.hpp"

#include "core/private_address.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace rooster::dns {
namespace {

using Has = ZoneNode::Has;
using By = MachineChoice::By;

constexpr std::size_t kNibbles = 32;
constexpr std::size_t kReverseLabels = 6;  // a.a.d.f.ip6.arpa

bool is(std::string_view label, std::string_view word) {
  return equal_folded(label, word);
}

ZoneNode of_machines(const AppRecord& app, MachineChoice choice) {
  const bool has_any = std::ranges::any_of(
      app.machines, [&](const MachineRecord& machine) { return choice.matches(machine); });
  const bool is_key = choice.by == By::MetadataKey;
  if (!has_any && choice.by != By::All) return {};
  return {.has = is_key ? Has::NoRecords : Has::Machines, .app = &app, .choice = choice};
}

ZoneNode of_text(TextList list, const AppRecord* app = nullptr) {
  return {.has = Has::Text, .app = app, .list = list};
}

/// "top3" -> 3.
std::optional<std::size_t> top_count(std::string_view label) {
  if (label.size() < 4 || !is(label.substr(0, 3), "top") || label[3] == '0') return std::nullopt;
  std::size_t count = 0;
  const auto [end, error] = std::from_chars(label.data() + 3, label.data() + label.size(), count);
  if (error != std::errc() || end != label.data() + label.size()) return std::nullopt;
  return count;
}

/// One label before the app's.
ZoneNode find_under_app(const AppRecord& app, std::string_view label) {
  if (is(label, "global")) return of_machines(app, {});
  if (is(label, "vms")) return of_text(TextList::Vms, &app);
  if (is(label, "regions")) return of_text(TextList::Regions, &app);
  for (const auto* above : {"vm", "process", "of", "all", "_metadata"}) {
    if (is(label, above)) return {.has = Has::NoRecords};
  }
  return of_machines(app, {.by = By::Region, .value = label});
}

/// Two labels before the app's.
ZoneNode find_pair(const AppRecord& app, std::string_view first, std::string_view second) {
  if (is(second, "vm")) return of_machines(app, {.by = By::Id, .value = first});
  if (is(second, "process")) return of_machines(app, {.by = By::Group, .value = first});
  if (is(first, "all") && is(second, "vms")) return of_text(TextList::AllVms, &app);
  if (is(first, "all") && is(second, "regions")) return of_text(TextList::AllRegions, &app);
  const bool is_above =
      (is(first, "nearest") && is(second, "of")) || (is(first, "kv") && is(second, "_metadata"));
  return {.has = is_above ? Has::NoRecords : Has::Nothing};
}

/// Three labels and more: top<N>.nearest.of and the metadata.
ZoneNode find_deep(const AppRecord& app, const Labels& labels, std::size_t before) {
  if (before == 3 && is(labels[1], "nearest") && is(labels[2], "of")) {
    const auto count = top_count(labels[0]);
    return count ? of_machines(app, {.nearest = *count}) : ZoneNode{};
  }
  if (before > 4 || !is(labels[before - 1], "_metadata") || !is(labels[before - 2], "kv")) {
    return {};
  }
  if (before == 3) return of_machines(app, {.by = By::MetadataKey, .key = labels[0]});
  return of_machines(app, {.by = By::Metadata, .value = labels[0], .key = labels[1]});
}

std::optional<ZoneNode> find_special(const Zone& zone, NetworkId network, const Labels& labels) {
  const std::string_view last = labels.from_right(1);
  const std::size_t before = labels.size() - 2;
  if (is(last, "_api")) {
    if (before != 0) return ZoneNode{};
    return ZoneNode{.has = Has::Address, .address = infra_address(network)};
  }
  if (is(last, "_apps")) return before == 0 ? of_text(TextList::Apps) : ZoneNode{};
  if (is(last, "_instances")) {
    if (before == 0) return of_text(TextList::Instances);
    return before == 1 && is(labels[0], "all") ? of_text(TextList::AllInstances) : ZoneNode{};
  }
  if (!is(last, "_peer")) return std::nullopt;
  if (before == 0) return of_text(TextList::Peers);
  const PeerRecord* peer =
      before == 1 && !is_hidden_peer(labels[0]) ? zone.peer(labels[0]) : nullptr;
  if (peer == nullptr) return ZoneNode{};
  return ZoneNode{.has = Has::Address, .address = peer->address};
}

ZoneNode find_internal(const Zone& zone, NetworkId network, const Labels& labels) {
  if (const auto special = find_special(zone, network, labels)) return *special;
  const AppRecord* app = zone.app(labels.from_right(1));
  if (app == nullptr) return {};
  const std::size_t before = labels.size() - 2;
  switch (before) {
    case 0:
      return of_machines(*app, {});
    case 1:
      return find_under_app(*app, labels[0]);
    case 2:
      return find_pair(*app, labels[0], labels[1]);
    default:
      return find_deep(*app, labels, before);
  }
}

ZoneNode find_flycast(const Zone& zone, const Labels& labels) {
  const AppRecord* app = labels.size() == 2 ? zone.app(labels[0]) : nullptr;
  if (app == nullptr || app->flycast == IpAddress{}) return {};
  return {.has = Has::Address, .address = app->flycast};
}

std::optional<std::uint8_t> nibble(std::string_view label) {
  if (label.size() != 1) return std::nullopt;
  const char c = fold(label.front());
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  return std::nullopt;
}

// RFC 3596 §2.5: nibbles in reverse.
ZoneNode find_reverse(const Zone& zone, NetworkId network, const Labels& labels) {
  const std::size_t count = labels.size() - 2;  // behind them: ip6.arpa
  if (count > kNibbles) return {};
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = nibble(labels[count - 1 - i]);
    if (!value) return {};
    bytes[i / 2] = static_cast<std::uint8_t>(bytes[i / 2] | *value << (i % 2 == 0 ? 4 : 0));
  }
  if (count < kNibbles) return {.has = Has::NoRecords};
  const IpAddress address = IpAddress::from_bytes(bytes);
  if (address == infra_address(network) || address == machine_dns_address()) {
    return {.has = Has::Pointer};
  }
  const AddressOwner* owner = zone.owner(address);
  if (owner == nullptr || (owner->peer != nullptr && is_hidden_peer(owner->peer->name))) return {};
  return {.has = Has::Pointer, .owner = *owner};
}

}  // namespace

bool is_hidden_peer(std::string_view name) {
  constexpr std::string_view kPrefix = "interactive-";
  return is(name.substr(0, kPrefix.size()), kPrefix);
}

bool MachineChoice::matches(const MachineRecord& machine) const {
  if (machine.skip_registration) return false;
  const auto has = [&](const auto& pair) {
    return is(pair.first, key) && (by == By::MetadataKey || is(pair.second, value));
  };
  switch (by) {
    case By::All:
      return true;
    case By::Region:
      return is(machine.region, value);
    case By::Group:
      return is(machine.group, value);
    case By::Id:
      return is(machine.id, value);
    case By::Metadata:
    case By::MetadataKey:
      return std::ranges::any_of(machine.metadata, has);
  }
  return false;
}

PrivateZone zone_of(const Labels& labels) {
  if (labels.size() == 0) return PrivateZone::None;
  const std::string_view top = labels.from_right(0);
  if (is(top, "internal")) return PrivateZone::Internal;
  if (is(top, "flycast")) return PrivateZone::Flycast;
  if (labels.size() < kReverseLabels || !is(top, "arpa") || !is(labels.from_right(1), "ip6")) {
    return PrivateZone::None;
  }
  const bool is_ours = is(labels.from_right(2), "f") && is(labels.from_right(3), "d") &&
                       is(labels.from_right(4), "a") && is(labels.from_right(5), "a");
  return is_ours ? PrivateZone::Reverse : PrivateZone::None;
}

std::size_t zone_labels(PrivateZone zone) {
  return zone == PrivateZone::Reverse ? kReverseLabels : 1;
}

ZoneNode find_node(const Zone& zone, NetworkId network, PrivateZone which, const Labels& labels) {
  if (labels.size() == zone_labels(which)) return {.has = Has::Apex};
  switch (which) {
    case PrivateZone::Internal:
      return find_internal(zone, network, labels);
    case PrivateZone::Flycast:
      return find_flycast(zone, labels);
    case PrivateZone::Reverse:
      return find_reverse(zone, network, labels);
    case PrivateZone::None:
      break;
  }
  return {};
}

}  // namespace rooster::dns
