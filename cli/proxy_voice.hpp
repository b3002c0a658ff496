// What `rooster proxy` prints: the mappings on standard output, all else on standard error; with
// --json one event a line on standard output.
#pragma once

#include "cli/proxy_texts.hpp"
#include "cli/run_cli.hpp"

#include <string>
#include <string_view>

namespace rooster::cli {

class ProxyVoice {
 public:
  struct Manner {
    bool as_json = false;
    bool quiet = false;    ///< no progress
    bool verbose = false;  ///< each connection too
  };
  ProxyVoice(const Console& console, Manner manner) : console_(console), manner_(manner) {}

  void proxying(const ProxyMapping& mapping, std::uint16_t bound_port);
  /// How a wake goes; lines that repeat are said once.
  void progress(const net::ConnectTarget& remote, std::string_view line, TimePoint now);
  /// A connection that failed or was lost; lines that repeat are counted.
  void failure(const net::ConnectTarget& remote, std::string line, TimePoint now);
  /// What happened to the way.
  void state(std::string_view line);
  void warning(std::string_view line);
  void error(std::string_view line);
  void detail(std::string_view line);  ///< only if verbose
  void tick(TimePoint now);
  void end();

 private:
  void event(std::string_view kind, std::string_view remote, std::string_view text);
  void print_all(const std::vector<std::string>& lines);
  Console console_;
  Manner manner_;
  RepeatedLines progress_;
  RepeatedLines failures_;
};

}  // namespace rooster::cli
