// `rooster dig [type] name`: a lookup at the network's own DNS server, over TCP through the tunnel.
#pragma once

#include "cli/developer_way.hpp"
#include "cli/run_cli.hpp"
#include "cli/way.hpp"
#include "dns/lookup.hpp"

#include <expected>
#include <string>
#include <vector>

namespace rooster::cli {

/// The words "[type] name" as a question. The error is a sentence, flyctl's where it has one.
std::expected<dns::Question, std::string> parse_dig(const std::vector<std::string>& words);

/// Asks and reads the whole answer. Errors: the way's; UpstreamBadResponse; UpstreamTimeout.
Task<dns::Response> look_up(Way& way, dns::Question question, Waiter& waiter, TimePoint deadline);

/// `is_short`: the answers' data alone.
int run_dig(const DeveloperOptions& options, const std::vector<std::string>& words, bool is_short,
            const Console& console);
/// The same over a way that is there already.
int dig_through(Loop& loop, Way& way, const dns::Question& question, bool is_short, bool as_json,
                const Console& console);

}  // namespace rooster::cli
