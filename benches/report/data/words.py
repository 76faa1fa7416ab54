"""The words of a report, spelled out."""

GLOSSARY = {
    "CTCE": "centralised training, centralised execution: one network chooses the actions of all agents",
    "CTDE": "centralised training, decentralised execution: an actor per agent, one critic for the community's reward",
    "DTDE": "decentralised training, decentralised execution: an actor, a critic and a reward for each agent",
    "PPO": "proximal policy optimisation (arXiv:1707.06347)",
    "APPO": "asynchronous PPO: sampling goes on while the learner learns; V-trace corrects for it",
    "V-trace": "value targets for samples of a policy that is no longer the newest (arXiv:1802.01561)",
    "SAC": "soft actor-critic (arXiv:1812.05905), which learns from a replay buffer",
    "DSO": "distribution system operator: buys at the feed-in tariff, sells at the utility price, and owns the grid",
    "P2P": "peer to peer: between agents, without the DSO",
    "KPI": "key performance indicator: a figure of what the market did in an episode",
    "SOC": "state of charge of a battery, a fraction of its nominal capacity",
    "position": "0 where every agent trades with the DSO alone, 1 at the cooperative optimum",
    "MPC": "model predictive control: the best plan for a forecast, made anew in each step",
    "N, k": "the number of agents; the exponent of time by N beyond a floor, t = floor + c N^k",
    "IQM": "interquartile mean: of the middle half of the trainings (arXiv:2108.13264)",
}
