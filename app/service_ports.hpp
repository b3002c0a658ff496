// ServicePorts: the listening sockets of the ports that services ask for by themselves, beside
// those of [listen]. They come and go with the configuration; one that can't be had is told, tried
// again, and keeps nobody else from being served.
#pragma once

#include "app/worker.hpp"
#include "config/config_set.hpp"
#include "core/address.hpp"
#include "core/log.hpp"
#include "core/loop.hpp"
#include "keeper/client.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rooster::app {

/// Belongs to control's thread.
class ServicePorts {
 public:
  struct Parts {
    Loop& loop;
    Log& log;
    keeper::Client& keeper;
    std::vector<std::unique_ptr<Worker>>& workers;
  };
  explicit ServicePorts(Parts parts);

  /// Binds what `config` asks for and waits for it: at the start, before the loop runs.
  void open(const config::ConfigSet& config);
  /// The same without waiting; what is no longer wanted is let go.
  void adopt(const config::ConfigSet& config);
  /// The keeper lets go of its copies, as Listeners::release().
  void release();

  bool is_own(const Endpoint& to) const;
  /// "tcp *:5432", by address and port.
  std::vector<std::string> texts() const;

 private:
  /// An address to listen on: the hosts of [listen], each with every wanted port.
  using Place = std::pair<std::string, std::uint16_t>;
  struct Wanted {
    std::string app;
    bool of_range = false;
    bool was_told = false;  ///< that it can't be had
  };
  void plan(const config::ConfigSet& config);
  keeper::Listen request_for(const Place& place, const Wanted& wanted) const;
  void ask_for_missing();
  void take(const Place& place, keeper::Reply reply);
  void hand_out(const Place& place, keeper::Listening& listening);
  void drop(const Place& place);

  Parts parts_;
  Timer retry_;
  std::map<Place, Wanted> wanted_;
  std::set<Place> asked_;  // an answer is on its way
  std::set<Place> bound_;
  std::size_t left_out_ = 0;
  bool is_released_ = false;
};

}  // namespace rooster::app
