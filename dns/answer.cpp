#include "dns/answer.hpp"

#include "dns/name.hpp"
#include "dns/zone_node.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <netinet/in.h>

namespace rooster::dns {
namespace {

using Has = ZoneNode::Has;

// The zones' start of authority (RFC 1035 §3.3.13). Nobody transfers them: the times are form.
constexpr std::string_view kServerName("\4_api\10internal\0", 15);
constexpr std::string_view kMailbox("\12hostmaster\10internal\0", 21);
constexpr std::uint32_t kRefresh = 3600;
constexpr std::uint32_t kRetry = 600;
constexpr std::uint32_t kExpire = 86400;

/// What the writers below have in common.
struct Asked {
  const Directory& directory;
  const Zone& zone;
  const Query& query;
  const AnswerOptions& options;
  Reply& reply;
};

void write_soa(const Asked& asked, Section section, std::string_view owner) {
  Reply& reply = asked.reply;
  reply.begin(section, owner, type::kSoa, kTtl);
  reply.name(kServerName);
  reply.name(kMailbox);
  reply.u32(asked.directory.serial());
  reply.u32(kRefresh);
  reply.u32(kRetry);
  reply.u32(kExpire);
  reply.u32(kTtl);  // how long a negative answer may be kept (RFC 2308 §4)
  reply.end();
}

bool is_listed(const MachineRecord& machine, bool started) {
  if (machine.address == IpAddress{}) return false;
  const bool is_started = machine.state == MachineState::Started;
  return started ? is_started : !is_started && machine.wakeable;
}

void add_address(const Asked& asked, const IpAddress& address) {
  asked.reply.begin(Section::Answer, asked.query.name, type::kAaaa, kTtl);
  const auto& bytes = address.bytes();
  asked.reply.bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  asked.reply.end();
}

/// Writes the `started`, or else the wakeable, machines that are closest.
std::size_t write_nearest(const Asked& asked, const ZoneNode& node, bool started) {
  std::vector<std::pair<Duration, const MachineRecord*>> machines;
  for (const MachineRecord& machine : node.app->machines) {
    if (!node.choice.matches(machine) || !is_listed(machine, started)) continue;
    const auto& distance = asked.options.round_trip;
    machines.emplace_back(distance ? distance(machine.region) : Duration::zero(), &machine);
  }
  std::ranges::sort(machines);  // equally far: in the directory's order
  machines.resize(std::min(machines.size(), node.choice.nearest));
  for (const auto& [distance, machine] : machines) add_address(asked, machine->address);
  return machines.size();
}

/// All of them, beginning with another one each time, so that those who take the first spread.
std::size_t write_machines(const Asked& asked, const ZoneNode& node, bool started) {
  if (node.choice.nearest != 0) return write_nearest(asked, node, started);
  const auto& all = node.app->machines;
  std::size_t written = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const MachineRecord& machine = all[(asked.query.id + i) % all.size()];
    if (!node.choice.matches(machine) || !is_listed(machine, started)) continue;
    add_address(asked, machine.address);
    ++written;
  }
  return written;
}

/// A TXT record whose items are joined by a separator; what a stream can't hold is left out whole.
class List {
 public:
  List(const Asked& asked, std::string_view separator)
      : reply_(asked.reply), separator_(separator) {
    reply_.begin(Section::Answer, asked.query.name, type::kTxt, kTtl);
  }
  /// False: no room for this one or any other.
  bool add(std::initializer_list<std::string_view> pieces) {
    const Reply::Mark before = reply_.mark();
    if (items_ != 0) reply_.text(separator_);
    for (const auto piece : pieces) reply_.text(piece);
    if (reply_.overflowed()) {
      // A datagram's asker comes again over TCP: the overflow stays.
      if (reply_.carrier() == Carrier::Stream) reply_.rewind(before);
      return false;
    }
    ++items_;
    return true;
  }
  std::size_t items() const { return items_; }

 private:
  Reply& reply_;
  std::string_view separator_;
  std::size_t items_ = 0;
};

bool is_deployed(const MachineRecord& machine, bool all) {
  return !machine.skip_registration && (all || machine.state == MachineState::Started);
}

void list_vms(const AppRecord& app, bool all, List& list) {
  for (const MachineRecord& machine : app.machines) {
    if (is_deployed(machine, all) && !list.add({machine.id, " ", machine.region})) return;
  }
}

void list_regions(const AppRecord& app, bool all, List& list) {
  std::vector<std::string_view> regions;
  for (const MachineRecord& machine : app.machines) {
    if (is_deployed(machine, all)) regions.emplace_back(machine.region);
  }
  std::ranges::sort(regions);
  const auto repeated = std::ranges::unique(regions);
  regions.erase(repeated.begin(), repeated.end());
  for (const auto region : regions) {
    if (!list.add({region})) return;
  }
}

void list_instances(const Zone& zone, bool all, List& list) {
  for (const auto& [name, app] : zone.apps()) {
    for (const MachineRecord& machine : app->machines) {
      if (!is_deployed(machine, all)) continue;
      char address[INET6_ADDRSTRLEN];
      const std::string_view text(address, machine.address.write(address));
      if (!list.add(
              {"instance=", machine.id, ",app=", name, ",ip=", text, ",region=", machine.region})) {
        return;
      }
    }
  }
}

void fill_list(const Asked& asked, const ZoneNode& node, List& list) {
  switch (node.list) {
    case TextList::Vms:
    case TextList::AllVms:
      return list_vms(*node.app, node.list == TextList::AllVms, list);
    case TextList::Regions:
    case TextList::AllRegions:
      return list_regions(*node.app, node.list == TextList::AllRegions, list);
    case TextList::Apps:
      for (const auto& [name, app] : asked.zone.apps()) {
        if (!list.add({name})) return;
      }
      return;
    case TextList::Peers:
      for (const auto& [name, peer] : asked.zone.peers()) {
        if (!is_hidden_peer(name) && !list.add({name})) return;
      }
      return;
    case TextList::Instances:
    case TextList::AllInstances:
      return list_instances(asked.zone, node.list == TextList::AllInstances, list);
  }
}

/// One record; none where there is nothing to list.
bool write_list(const Asked& asked, const ZoneNode& node) {
  const bool joins_records =
      node.list == TextList::Instances || node.list == TextList::AllInstances;
  List list(asked, joins_records ? ";" : ",");
  fill_list(asked, node, list);
  if (list.items() == 0 && !asked.reply.overflowed()) {
    asked.reply.cancel();
    return false;
  }
  return asked.reply.end();
}

void write_pointer(const Asked& asked, const ZoneNode& node) {
  std::string text = "_api.internal";
  if (node.owner.peer != nullptr) {
    text = node.owner.peer->name + "._peer.internal";
  } else if (node.owner.machine != nullptr) {
    text = node.owner.machine->id + ".vm." + node.owner.app->name + ".internal";
  } else if (node.owner.app != nullptr) {
    text = node.owner.app->name + ".flycast";
  }
  const auto target = name_from_text(text);
  if (!target) return;
  asked.reply.begin(Section::Answer, asked.query.name, type::kPtr, kTtl);
  asked.reply.name(*target);
  asked.reply.end();
}

bool write_machines_or_wakeable(const Asked& asked, const ZoneNode& node) {
  if (write_machines(asked, node, true) != 0) return true;
  return node.app->internal_wake && write_machines(asked, node, false) != 0;
}

bool write_apex(const Asked& asked) {
  if (asked.query.type == type::kNs) {
    asked.reply.begin(Section::Answer, asked.query.name, type::kNs, kTtl);
    asked.reply.name(kServerName);
    return asked.reply.end();
  }
  if (asked.query.type != type::kSoa && asked.query.type != type::kAny) return false;
  write_soa(asked, Section::Answer, asked.query.name);
  return true;
}

/// False: the name has no record of this type.
bool write_node(const Asked& asked, const ZoneNode& node) {
  const auto asks_for = [&](std::uint16_t type) {
    return asked.query.type == type || asked.query.type == type::kAny;  // RFC 8482 §4.1
  };
  switch (node.has) {
    case Has::Nothing:
    case Has::NoRecords:
      return false;
    case Has::Apex:
      return write_apex(asked);
    case Has::Machines:
      return asks_for(type::kAaaa) && write_machines_or_wakeable(asked, node);
    case Has::Address:
      if (asks_for(type::kAaaa)) add_address(asked, node.address);
      return asks_for(type::kAaaa);
    case Has::Text:
      return asks_for(type::kTxt) && write_list(asked, node);
    case Has::Pointer:
      if (asks_for(type::kPtr)) write_pointer(asked, node);
      return asks_for(type::kPtr);
  }
  return false;
}

/// What no zone answers, private or not.
Rcode refusal(const Query& query) {
  if (query.rcode != Rcode::NoError) return query.rcode;
  if (query.klass != kClassIn) return Rcode::Refused;
  if (query.type == type::kAxfr || query.type == type::kIxfr) return Rcode::Refused;
  // Meta types of which only ANY can be answered (RFC 6895 §3.1).
  if (query.type >= 128 && query.type < type::kAny) return Rcode::NotImp;
  return Rcode::NoError;
}

}  // namespace

Verdict answer(const Directory& directory, NetworkId network, const Query& query,
               const AnswerOptions& options, Reply& reply) {
  reply.set_rcode(refusal(query));
  if (refusal(query) != Rcode::NoError) return Verdict::Answered;
  const Labels labels(query.name);
  const PrivateZone which = zone_of(labels);
  if (which == PrivateZone::None) {
    if (query.wants_recursion()) return Verdict::Recurse;
    reply.set_rcode(Rcode::Refused);
    return Verdict::Answered;
  }
  reply.set_authoritative();
  const Zone& zone = directory.zone(network);
  const Asked asked{directory, zone, query, options, reply};
  const ZoneNode node = find_node(zone, network, which, labels);
  if (node.has == Has::Nothing) reply.set_rcode(Rcode::NxDomain);
  if (!write_node(asked, node) && !reply.is_full()) {
    const std::size_t apex = labels.offset(labels.size() - zone_labels(which));
    write_soa(asked, Section::Authority, query.name.substr(apex));
  }
  return Verdict::Answered;
}

bool is_private_name(std::string_view name) {
  return zone_of(Labels(name)) != PrivateZone::None;
}

}  // namespace rooster::dns
