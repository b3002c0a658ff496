#include "cli/choose_machine.hpp"

#include "cli/api_call.hpp"
#include "cli/node_client.hpp"
#include "cli/run_task.hpp"
#include "cli/terminal.hpp"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <ostream>
#include <utility>

#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr auto kAskTime = std::chrono::seconds(30);
constexpr auto kOpenTime = std::chrono::seconds(10);

std::unexpected<std::string> wrong(std::string text) {
  return std::unexpected(std::move(text));
}

}  // namespace

std::expected<std::vector<MachineRow>, std::string> fitting_machines(
    const std::vector<MachineRow>& machines, const MachineWish& wish) {
  if (machines.empty()) {
    return wrong(fmt::format(
        "app {0} has no started VMs.\nIt may be unhealthy or not have been deployed yet.\nTry the "
        "following command to verify:\n\nrooster status -a {0}",
        wish.app));
  }
  std::vector<MachineRow> fitting;
  for (const MachineRow& machine : machines) {
    if (!wish.region.empty() && machine.region != wish.region) continue;
    if (!wish.group.empty() && machine.group != wish.group) continue;
    if (!wish.id.empty() && machine.id != wish.id) continue;
    fitting.push_back(machine);
  }
  if (fitting.empty() && !wish.id.empty()) {
    return wrong(fmt::format("--machine=\"{}\" not found; rooster machine list -a {} shows them",
                             wish.id, wish.app));
  }
  if (fitting.empty() && !wish.region.empty()) {
    return wrong(fmt::format("app {} has no VMs in region {}", wish.app, wish.region));
  }
  if (fitting.empty()) {
    return wrong(fmt::format("app {} has no VMs in process group {}", wish.app, wish.group));
  }
  // By id among equals: two commands in a row mean the same machine.
  std::ranges::sort(fitting, {}, [](const MachineRow& machine) {
    return std::pair(!machine.is_started(), machine.id);
  });
  return fitting;
}

Task<std::vector<MachineRow>> fetch_machines(Way& way, std::string app, Waiter& waiter) {
  net::HttpRequest request;
  request.target = "/v1/apps/" + net::encode_query(app);
  const auto response =
      co_await ask_api(way, std::move(request), waiter, waiter.loop().now() + kAskTime);
  if (!response) co_return response.error();
  boost::system::error_code error;
  const boost::json::value found = boost::json::parse(response->body, error);
  if (error || response->status != 200) {
    std::string why = error ? std::string() : text_at(found, "error");
    if (why.empty()) why = fmt::format("the node answered {}", response->status);
    co_return Error(response->status == 404 ? Fault::NoRoute : Fault::Internal,
                    fmt::format("app {}: {}", app, why));
  }
  std::vector<MachineRow> rows;
  for (const auto& machine : array_at(found, "machines")) {
    rows.push_back({.id = text_at(machine, "id"),
                    .region = text_at(machine, "region"),
                    .group = text_at(machine, "process"),
                    .state = text_at(machine, "state"),
                    .address = text_at(machine, "private_ip")});
  }
  co_return rows;
}

std::expected<std::size_t, std::string> ask_which(const std::vector<MachineRow>& machines,
                                                  const Console& console) {
  if (::isatty(STDIN_FILENO) == 0) {
    return wrong("there is no terminal to ask at; choose with --machine <id>");
  }
  for (std::size_t i = 0; i < machines.size(); ++i) {
    const MachineRow& machine = machines[i];
    console.err << fmt::format("{:>3}  {}  {}  {}  {}\n", i + 1, harmless(machine.id),
                               harmless(machine.region), harmless(machine.group),
                               harmless(machine.state));
  }
  console.err << "Select VM: " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  std::size_t number = 0;
  const auto [end, bad] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (bad != std::errc() || end != line.data() + line.size() || number == 0 ||
      number > machines.size()) {
    return wrong(fmt::format("\"{}\" is no number of the list", line));
  }
  return number - 1;
}

Result<std::string> select_machine(Loop& loop, Way& way, const std::string& app,
                                   const Console& console) {
  using Rows = std::vector<MachineRow>;
  const auto opened = way.open_now(loop, kOpenTime);
  if (!opened) return fail(opened.error());
  const auto rows = run_task<Rows>(
      loop, [&way, &app](Waiter& waiter) { return fetch_machines(way, app, waiter); });
  if (!rows) return fail(rows.error());
  const auto fitting = fitting_machines(*rows, {.app = app, .id = {}, .region = {}, .group = {}});
  if (!fitting) return fail(Fault::NoRoute, fitting.error());
  const auto chosen = ask_which(*fitting, console);
  if (!chosen) return fail(Fault::BadRequest, chosen.error());
  return fmt::format("{}.vm.{}.internal", (*fitting)[*chosen].id, app);
}

}  // namespace rooster::cli
