#include "cli/proxy_texts.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::cli {

std::string local_place(const ProxyMapping& mapping, std::uint16_t bound_port) {
  return mapping.is_unix() ? mapping.local_path : fmt::format("localhost:{}", bound_port);
}

std::string proxying_line(const ProxyMapping& mapping, std::uint16_t bound_port) {
  return fmt::format("Proxying {} to remote [{}]:{}", local_place(mapping, bound_port),
                     mapping.remote.host, mapping.remote.port);
}

std::string failed_line(const net::ConnectTarget& remote, const net::ConnectRefusal& why) {
  const std::string token = why.fault.empty() ? "" : " [" + why.fault + "]";
  return fmt::format("connection to {} failed: {}{}", remote.to_string(), why.detail, token);
}

std::string failed_line(const net::ConnectTarget& remote, const Error& why) {
  const FaultText text = describe(why.fault);
  return fmt::format("connection to {} failed: {}", remote.to_string(),
                     why.detail.empty() ? text.hint : std::string_view(why.detail));
}

std::string lost_line(const net::ConnectTarget& remote, std::string_view why) {
  return fmt::format("connection to {} lost: {}", remote.to_string(),
                     why.empty() ? "the app closed it, or its machine stopped" : why);
}

std::string duration_text(std::chrono::seconds duration) {
  const auto all = duration.count();
  const auto hours = all / 3600;
  const auto minutes = all / 60 % 60;
  const auto seconds = all % 60;
  if (hours > 0) return fmt::format("{}h{}m", hours, minutes);
  if (minutes > 0) return fmt::format("{}m{}s", minutes, seconds);
  return fmt::format("{}s", seconds);
}

std::string port_taken_text(std::string_view address, const ProxyMapping& mapping,
                            const PortHolder& holder) {
  std::string who = "another process";
  if (holder.pid != 0) {
    who = holder.command.empty() ? fmt::format("pid {}", holder.pid)
                                 : fmt::format("{} (pid {})", holder.command, holder.pid);
  }
  return fmt::format("port {} of {} is taken by {}; stop it, or choose another local port: {}:{}",
                     mapping.local_port, address, who,
                     mapping.local_port < 10'000 ? mapping.local_port + 10'000 : 0,
                     mapping.remote.port);
}

bool is_for_good(const net::ConnectRefusal& refusal) {
  return refusal.status == 400 || refusal.status == 401 || refusal.status == 403 ||
         refusal.status == 404 || refusal.status == 421;
}

std::string RepeatedLines::counted(const Entry& entry) {
  return fmt::format("{} ({} more {} in {})", entry.line, entry.more,
                     entry.more == 1 ? "time" : "times",
                     duration_text(std::chrono::duration_cast<std::chrono::seconds>(kWindow)));
}

std::vector<std::string> RepeatedLines::add(std::string line, TimePoint now) {
  std::vector<std::string> lines = due(now);
  const auto found = std::ranges::find(entries_, line, &Entry::line);
  if (found != entries_.end()) {
    ++found->more;
    return lines;
  }
  if (entries_.size() >= kMost) {
    if (entries_.front().more > 0) lines.push_back(counted(entries_.front()));
    entries_.erase(entries_.begin());
  }
  lines.push_back(line);
  entries_.push_back({std::move(line), now});
  return lines;
}

std::vector<std::string> RepeatedLines::due(TimePoint now) {
  std::vector<std::string> lines;
  std::erase_if(entries_, [&](const Entry& entry) {
    const bool over = now - entry.since >= kWindow;
    if (over && entry.more > 0) lines.push_back(counted(entry));
    return over;
  });
  return lines;
}

std::vector<std::string> RepeatedLines::rest() {
  std::vector<std::string> lines;
  for (const Entry& entry : entries_) {
    if (entry.more > 0) lines.push_back(counted(entry));
  }
  entries_.clear();
  return lines;
}

std::optional<std::chrono::seconds> SleepWatch::look(std::chrono::milliseconds boot_time) {
  const auto gap = last_ ? boot_time - *last_ : std::chrono::milliseconds(0);
  last_ = boot_time;
  if (gap < kGap) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(gap);
}

}  // namespace rooster::cli
