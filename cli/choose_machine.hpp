// Which of an app's machines a developer's command means. The choice is pure; the list comes from
// the node.
#pragma once

#include "cli/run_cli.hpp"
#include "cli/way.hpp"
#include "core/error.hpp"

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

struct MachineRow {
  std::string id;
  std::string region;
  std::string group;
  std::string state;    ///< Fly's words
  std::string address;  ///< in the private network; "": none

  bool is_started() const { return state == "started"; }
};

/// What was said of the machine on the command line.
struct MachineWish {
  std::string app;
  std::string id;
  std::string region;
  std::string group;
};

/// Those that the wish fits: started ones first, then by id. The error is flyctl's
/// where it has one.
std::expected<std::vector<MachineRow>, std::string> fitting_machines(
    const std::vector<MachineRow>& machines, const MachineWish& wish);

/// Errors: NoRoute where there is no such app, or it may not be reached; the way's.
Task<std::vector<MachineRow>> fetch_machines(Way& way, std::string app, Waiter& waiter);

/// Asks the person at the terminal. Errors: there is none, or the answer is no number of the list.
std::expected<std::size_t, std::string> ask_which(const std::vector<MachineRow>& machines,
                                                  const Console& console);

/// The name of one machine of `app`, chosen at the terminal: "<id>.vm.<app>.internal".
Result<std::string> select_machine(Loop& loop, Way& way, const std::string& app,
                                   const Console& console);

}  // namespace rooster::cli
