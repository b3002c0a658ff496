#include "dns/directory.hpp"

#include <algorithm>

namespace rooster::dns {

bool equal_folded(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, fold, fold);
}

std::size_t FoldedHash::operator()(std::string_view text) const noexcept {
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(fold(c))) * 0x100000001B3u;
  }
  return static_cast<std::size_t>(hash);
}

bool FoldedLess::operator()(std::string_view a, std::string_view b) const noexcept {
  return std::ranges::lexicographical_compare(a, b, {}, fold, fold);
}

const AppRecord* Zone::app(std::string_view name) const {
  const auto found = app_by_name_.find(name);
  return found == app_by_name_.end() ? nullptr : found->second;
}

const PeerRecord* Zone::peer(std::string_view name) const {
  const auto found = peers_.find(name);
  return found == peers_.end() ? nullptr : found->second.get();
}

const AddressOwner* Zone::owner(const IpAddress& address) const {
  const auto found = owners_.find(address);
  return found == owners_.end() ? nullptr : &found->second;
}

// An address that somebody else has taken meanwhile stays the other's.
void Zone::forget(const IpAddress& address, const void* holder) {
  const auto found = owners_.find(address);
  if (found == owners_.end()) return;
  if (found->second.app == holder || found->second.peer == holder) owners_.erase(found);
}

void Zone::forget(const AppRecord& record) {
  forget(record.flycast, &record);
  for (const MachineRecord& machine : record.machines) forget(machine.address, &record);
}

void Zone::put(AppRecord record) {
  remove_app(record.name);
  auto kept = std::make_unique<const AppRecord>(std::move(record));
  const IpAddress unset;
  if (kept->flycast != unset) owners_[kept->flycast] = {.app = kept.get()};
  for (const MachineRecord& machine : kept->machines) {
    if (machine.address == unset || machine.skip_registration) continue;
    owners_[machine.address] = {.app = kept.get(), .machine = &machine};
  }
  app_by_name_.emplace(kept->name, kept.get());
  const std::string_view name = kept->name;
  apps_.emplace(name, std::move(kept));
}

void Zone::put(PeerRecord record) {
  remove_peer(record.name);
  auto kept = std::make_unique<const PeerRecord>(std::move(record));
  if (kept->address != IpAddress{}) owners_[kept->address] = {.peer = kept.get()};
  const std::string_view name = kept->name;
  peers_.emplace(name, std::move(kept));
}

void Zone::remove_app(std::string_view name) {
  const auto found = apps_.find(name);
  if (found == apps_.end()) return;
  forget(*found->second);
  app_by_name_.erase(found->second->name);
  apps_.erase(found);
}

void Zone::remove_peer(std::string_view name) {
  const auto found = peers_.find(name);
  if (found == peers_.end()) return;
  forget(found->second->address, found->second.get());
  peers_.erase(found);
}

void Directory::put_app(NetworkId network, AppRecord record) {
  zones_[network].put(std::move(record));
  ++serial_;
}

void Directory::put_peer(NetworkId network, PeerRecord record) {
  zones_[network].put(std::move(record));
  ++serial_;
}

void Directory::remove_app(NetworkId network, std::string_view name) {
  if (const auto found = zones_.find(network); found != zones_.end()) {
    found->second.remove_app(name);
    ++serial_;
  }
}

void Directory::remove_peer(NetworkId network, std::string_view name) {
  if (const auto found = zones_.find(network); found != zones_.end()) {
    found->second.remove_peer(name);
    ++serial_;
  }
}

const Zone& Directory::zone(NetworkId network) const {
  const auto found = zones_.find(network);
  return found == zones_.end() ? nothing_ : found->second;
}

}  // namespace rooster::dns
