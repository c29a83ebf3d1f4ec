"""Settings of research: features, labels, learning, judgement and where runs are tracked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from aiquant.settings.base import Section


class FeatureSettings(Section):
    """Which features a model sees."""

    set: str = Field("core", description="Name of the feature set: see `aiquant features list`.")
    qlib_compat: bool = Field(False, description="Keep Qlib's own edge cases (IdxMax with NaN, flat thresholds).")
    sentiment_model: str | None = Field(
        None, description="Whose scores of articles and posts count; default: the only model's that there is."
    )


class LabelSettings(Section):
    """What a model is asked to forecast."""

    horizon: int = Field(5, ge=1, le=260, description="Bars that a position is held.")
    formula: str | None = Field(
        None,
        description="Label that is learnt instead of the forward return, as a formula that may read later bars: "
        "Ref($close, -2)/Ref($close, -1) - 1.",
    )
    window: Literal["horizon", "triple-barrier"] = Field(
        "horizon", description="What ends the window of a label that is learnt: the horizon, or a barrier before it."
    )
    upper: float | None = Field(
        2.0, gt=0, description="Gain at which a barrier ends it, in deviations of a return over the horizon."
    )
    lower: float | None = Field(2.0, gt=0, description="Loss at which a barrier ends it, likewise.")
    target: Literal["rank", "return", "excess", "beta-neutral"] = Field(
        "rank",
        description="rank: rank within the date, −0.5 to 0.5; excess: return less the date's mean; beta-neutral: less "
        "beta times that mean.",
    )
    scaled: bool = Field(False, description="Divide returns by the volatility known at the decision.")
    weights: Literal["equal", "uniqueness"] = Field(
        "equal", description="uniqueness: a training row counts less, the more labels of its symbol overlap its own."
    )
    time_decay: float = Field(
        1.0,
        gt=-1,
        le=1,
        description="Share of its weight that the oldest training row keeps; below 0: the share that weighs nothing.",
    )


class LearningSettings(Section):
    """How forecasts are made out of sample."""

    model: str = Field(
        "xgboost", description="Forecaster: xgboost, ridge, momentum, zero, a plug-in, or average:xgboost,ridge."
    )
    first_test: int | None = Field(None, description="First year that is forecast; default: after min_train_years.")
    last_test: int | None = Field(None, description="Last year that is forecast; default: the last with data.")
    min_train_years: int = Field(3, ge=1, description="Years of history before the first forecast.")
    train_years: int | None = Field(None, ge=1, description="Length of a rolling training window; default: expanding.")
    refit: int | None = Field(None, ge=1, description="Sessions between two fits; default: one fit a calendar year.")
    embargo: int = Field(5, ge=0, description="Sessions left out between training labels and a test window.")
    seed: int = Field(7, ge=0, description="Seed of all random choices.")
    threads: int = Field(0, ge=0, description="Threads of training; 0 takes all cores.")
    out_of_core: bool = Field(
        False,
        description="Keep the panel in a file, and train XGBoost from it block by block: for panels beyond memory.",
    )
    engine: Literal["local", "spark"] = Field("local", description="Where XGBoost is trained; spark: extra, Java 17.")


class XGBoostSettings(Section):
    """Parameters of the gradient boosted trees (names as in the library)."""

    n_estimators: int = Field(100, ge=1)
    max_depth: int = Field(4, ge=1, le=16)
    learning_rate: float = Field(0.05, gt=0, le=1)
    subsample: float = Field(0.7, gt=0, le=1)
    colsample_bytree: float = Field(0.7, gt=0, le=1)
    min_child_weight: float = Field(100.0, ge=0)
    reg_lambda: float = Field(1.0, ge=0)
    max_bin: int = Field(64, ge=2)
    objective: Literal["reg:squarederror", "rank:pairwise", "rank:ndcg"] = Field(
        "reg:squarederror", description="rank:*: the order within each date is learnt, from ten grades of the target."
    )
    early_stopping_rounds: int = Field(
        0, ge=0, description="Stop when so many trees brought no better rank IC on the held-out tail; 0: never."
    )
    validation_share: float = Field(
        0.2, gt=0, le=0.5, description="Latest share of the training dates that early stopping holds out."
    )
    device: Literal["cpu", "cuda"] = "cpu"


class RidgeSettings(Section):
    """Parameters of the linear baseline."""

    alpha: float = Field(1.0, gt=0, description="L2 penalty on the standardised coefficients.")


class ImportanceSettings(Section):
    """How the importance of features is measured after a training."""

    dates: int = Field(60, ge=0, description="Dates of each fold on which features are shuffled; 0: not at all.")
    correlation: float = Field(
        0.5, gt=0, lt=1, description="Mean absolute rank correlation from which features form a cluster."
    )


class TuningSettings(Section):
    """The search for parameters: `aiquant tune`."""

    trials: int = Field(50, ge=1, description="Parameters that are tried.")
    timeout: float | None = Field(None, gt=0, description="Seconds after which no trial is begun; default: no limit.")
    jobs: int = Field(1, ge=1, description="Processes beside one another.")
    folds: int = Field(4, ge=2, description="Stretches of the training period, each tested by what the others teach.")
    startup: int = Field(10, ge=1, description="Trials drawn at random before the search learns from them.")
    prune: bool = Field(True, description="Give up trials that are worse than the median after as many folds.")
    space: dict[str, list[float]] = Field(
        {}, description="Own ranges, [low, high] by the name of the parameter, in place of the built-in ones."
    )
    storage: SecretStr | None = Field(
        None,
        description="Database of Optuna for several machines, as SQLAlchemy names it (environment or secrets only).",
    )


class JudgementSettings(Section):
    """What is told of forecasts besides what the gate asks."""

    horizons: tuple[Annotated[int, Field(ge=1, le=260)], ...] = Field(
        (1, 2, 5, 10, 21, 63), description="Bars over which the rank IC is told, to show how fast an edge decays."
    )

    @field_validator("horizons", mode="before")
    @classmethod
    def _from_text(cls, told: Any) -> Any:
        """``1,5,21``, as the command line gives it."""
        return [part.strip() for part in told.split(",") if part.strip()] if isinstance(told, str) else told


class CombinatorialSettings(Section):
    """Combinatorial purged cross-validation: many histories out of one, each forecast by what it was not taught."""

    enabled: bool = Field(False, description="Whether `aiquant evaluate` does it; it fits C(groups, tested) models.")
    groups: int = Field(6, ge=2, le=20, description="Stretches of time, N.")
    tested: int = Field(2, ge=1, le=10, description="Stretches that are tested at a time, k.")


class GateSettings(Section):
    """What a model has to show before it is promoted."""

    require_leakage_check: bool = Field(True, description="A run that was not checked for leaks is not promoted.")
    min_cost_bps: float = Field(
        1.0,
        ge=0,
        description="Commission, slippage and half the spread that the backtest charged, basis points a trade.",
    )
    min_rank_ic_t: float = Field(2.0, description="t-statistic (Newey–West) of the out-of-sample rank IC.")
    min_sharpe_net: float = Field(0.0, description="Sharpe ratio net of costs must exceed this.")
    min_deflated_sharpe: float = Field(
        0.95, ge=0, lt=1, description="Probability that the true Sharpe ratio exceeds the luck of all trials."
    )
    max_superiority_p: float = Field(
        0.05, gt=0, le=1, description="p-value of Hansen's test that the best of all trials earns nothing."
    )
    max_overfitting: float = Field(
        0.5, ge=0, le=1, description="Probability of backtest overfitting (CSCV) of the trials; see overfitting_loss."
    )
    overfitting_loss: float = Field(
        0.05,
        ge=0,
        le=1,
        description="More overfitting is excused where the best in sample loses out of sample at most this often.",
    )
    overfitting_trials: int = Field(5, ge=2, description="Trials on the same sessions from which on it is asked.")
    min_better_than_baselines: float = Field(
        0.9, ge=0, lt=1, description="Probability (paired bootstrap) of a better rank IC than zero and momentum have."
    )
    min_better_than_champion: float = Field(
        0.9, ge=0, lt=1, description="The same against the champion, unless the model is its renewal."
    )
    min_sessions: int = Field(500, ge=1, description="Out-of-sample sessions; never fewer than the track record needs.")
    min_breadth: int = Field(10, ge=2, description="Median number of symbols a date.")


class LeakageSettings(Section):
    """How hard `check leakage` looks."""

    cuts: int = Field(3, ge=1, description="Random times at which history is cut.")


class TrackingSettings(Section):
    """MLflow."""

    uri: str | None = Field(None, description="Tracking server; default: mlflow.db (SQLite) in the workspace.")
    experiment: str = Field("aiquant", description="Name of the experiment.")
    model_name: str = Field("aiquant", description="Name of the registered model.")
    token: SecretStr | None = Field(
        None, description="Bearer token of the tracking server (environment or secrets only)."
    )
